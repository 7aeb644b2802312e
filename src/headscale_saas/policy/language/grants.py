"""`grants`: rules of the form src -> dst with `ip`, `app` and `via`."""

import re
from collections.abc import Iterable, Mapping

from headscale_saas.policy.language.document import Grant, IpEntry
from headscale_saas.policy.language.errors import Malformed, PolicyError
from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.places import GRANT_DESTINATION, GRANT_SOURCE
from headscale_saas.policy.language.ports import parse_ports, parse_protocol
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.rules import check_self, read_postures
from headscale_saas.policy.language.selectors import INTERNET, Selector
from headscale_saas.policy.language.shapes import Fields, fields, items, members, read, spellings, string
from headscale_saas.policy.language.values import Number, Value
from headscale_saas.tailcfg.codec import Json

_FIELDS = spellings("src", "dst", "ip", "app", "via", "srcPosture")
_CAPABILITY = re.compile(r"[^/:\s]+/[^\s]+")
_WITH_PORTS = re.compile(r".+:(?:\*|[0-9][0-9,-]*)", re.DOTALL)
"""As an ACL has its destinations."""

_OURS = "tailscale.com/"
_OPEN = {
    _OURS + "cap/" + name
    for name in ("drive", "golink", "kubernetes", "relay", "secrets", "tailsql", "tsidp", "webui")
}
EVERYTHING = ("0.0.0.0/0", "::/0")

Capabilities = Mapping[str, tuple[Json, ...]]


def read_grants(value: Value | None, names: Names) -> tuple[Grant, ...] | None:
    """None if there is no such section."""
    return tuple(_grant(item, names) for item in items(value)) if value else None


def _grant(value: Value, names: Names) -> Grant:
    grant = fields(value, _FIELDS)
    entries = tuple(read(item, _ip_entry) for item in items(grant.get("ip")))
    app = read_capabilities(grant.get("app"), _OPEN)
    if not entries and not app:
        raise value.refused("ip and app can not both be empty")
    sources = GRANT_SOURCE.read_all(grant.get("src"), names)
    destinations = tuple(_destination(item, names) for item in items(grant.get("dst")))
    _check(value, grant, sources, destinations)
    return Grant(
        position=value.position,
        sources=sources,
        destinations=destinations,
        ip=entries,
        app=app,
        via=tuple(_via(item, names) for item in items(grant.get("via"))),
        postures=read_postures(grant.get("srcPosture"), names),
    )


def _check(
    value: Value, grant: Fields, sources: Iterable[Selector], destinations: Iterable[Selector]
) -> None:
    check_self(grant.get("src", value), sources, destinations, allowed=())
    if "app" in grant and grant["app"].data and INTERNET in destinations:
        raise grant["app"].refused("cannot use app grants with autogroup:internet")


def _destination(value: Value, names: Names) -> Selector:
    try:
        destination = GRANT_DESTINATION.read(value, names)
    except PolicyError as refusal:
        if isinstance(value.data, str) and _WITH_PORTS.fullmatch(value.data.strip()):
            raise value.refused(f'{refusal.message}; a grant\'s ports go into its "ip"') from None
        raise
    if destination.name in EVERYTHING:
        instead = 'to allow all IP addresses, use "*" or "autogroup:internet"'
        raise value.refused(f"dst {quoted(string(value).strip())}: {instead}")
    return destination


def _ip_entry(word: str) -> IpEntry:
    """`*`, `<ports>` or `<protocol>:<ports>`."""
    protocol, colon, ports = word.rpartition(":")
    if ":" in protocol:
        raise Malformed(f"expected only one colon in Internet protocol and port type, got: {quoted(word)}")
    if not colon or protocol == "*":
        return IpEntry(None, parse_ports(ports))
    return IpEntry(parse_protocol(protocol), parse_ports(ports))


def _via(value: Value, names: Names) -> str:
    tag = string(value).strip()
    if not tag.startswith("tag:"):
        raise value.refused("via can only be a tag")
    if tag not in names.tags:
        raise value.refused(f"tag {quoted(tag)} not found")
    return tag


def read_capabilities(value: Value | None, allowed: Iterable[str]) -> Capabilities:
    """`app`. `allowed` are the names in the reserved domain that may be used here."""
    return {name: _arguments(name, member, allowed) for name, member in members(value)}


def _arguments(name: str, value: Value, allowed: Iterable[str]) -> tuple[Json, ...]:
    if not _CAPABILITY.fullmatch(name):
        raise value.name_refused("capability name must have the form {domain}/{path}")
    if name.lower().startswith(_OURS) and name not in allowed:
        raise value.name_refused("capability name must not be in the tailscale.com domain")
    return tuple(item.plain(Number.verbatim) for item in items(value))
