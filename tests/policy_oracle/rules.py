"""From grants and ACLs to the rules that are about one device (sections 6, 7, 8, 10 and 11.5)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tests.policy_oracle.ranges import EVERYTHING, INTERNET, TAILNET, Range, cover, overlap, parse_all
from tests.policy_oracle.selectors import (
    addresses,
    all_subnets,
    as_destination,
    as_sources,
    identity,
    is_of_internet,
    written_ranges,
)
from tests.policy_oracle.world import Device, World

DEFAULT_PROTOCOLS = frozenset({1, 6, 17, 58})
PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipv4": 4, "ip-in-ip": 4, "tcp": 6, "egp": 8, "igp": 9, "udp": 17,
    "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "sctp": 132,
}  # fmt: skip
COMPANIONS = {
    "tailscale.com/cap/drive": "tailscale.com/cap/drive-sharer",
    "tailscale.com/cap/relay": "tailscale.com/cap/relay-target",
}

Ports = tuple[int, int]
Entry = Sequence[Range]
"""One written destination: a single range, or everything."""


class Grant(NamedTuple):
    """An ACL or grant in one form. `ip`: protocols with their ports. `entry`: as the file has it."""

    sources: list[str]
    destinations: list[str]
    ip: list[tuple[frozenset[int], list[Ports]]]
    app: Mapping[str, Any]
    via: list[str]
    entry: Mapping[str, Any]


class Rule(NamedTuple):
    """Sources may reach `targets`, and have `capabilities` on the device that is in `holders`.

    `is_of_internet`: all of the internet is meant, even if some of it was taken out.
    """

    sources: list[Range]
    targets: Sequence[tuple[Entry, Ports]] = ()
    protocols: frozenset[int] = frozenset()
    holders: Sequence[Range] = ()
    capabilities: Mapping[str, Any] = {}
    is_of_internet: bool = False

    @property
    def destinations(self) -> list[Range]:
        return [*(one for where, _ in self.targets for one in where), *self.holders]


def grants_of(world: World) -> list[Grant]:
    """All of the policy: first the grants, then the ACLs, each with one destination."""
    policy = world.policy
    if policy.get("acls") is None and policy.get("grants") is None:
        return [Grant(["*"], ["*"], [(DEFAULT_PROTOCOLS, [(0, 65535)])], {}, [], {})]
    grants = [_grant(entry) for entry in policy.get("grants") or []]
    return grants + [one for entry in policy.get("acls") or [] for one in _acl(entry)]


@lru_cache(512)
def rules_for(world: World, device: Device) -> list[Rule]:
    """All that is said to, or of, anybody when this device asks: still with everybody's destinations."""
    return [rule for grant in grants_of(world) for rule in _rules(world, grant, device)]


def _rules(world: World, grant: Grant, device: Device) -> Iterator[Rule]:
    sources = as_sources(world, grant.sources, grant.entry).all_ranges()
    if not sources:
        return
    if grant.via:
        yield from _via_rules(world, grant, device, sources)
        return
    others = [word for word in grant.destinations if word != "autogroup:self"]
    of_internet = any(is_of_internet(world, word) for word in others)
    for rule in _ip_rules(grant, sources, [one for word in others for one in _entries(world, word)]):
        yield rule._replace(is_of_internet=of_internet)
    for word in others:
        yield from _app_rules(world, grant, sources, word)
    if len(others) < len(grant.destinations) and device.user is not None:
        yield from _self_rules(world, grant, device)


def _entries(world: World, word: str) -> list[Entry]:
    return [EVERYTHING] if word == "*" else [(one,) for one in as_destination(world, word).all_ranges()]


def _ip_rules(grant: Grant, sources: list[Range], entries: Iterable[Entry]) -> Iterator[Rule]:
    for protocols, ports in grant.ip:
        targets = [(where, span) for where in entries for span in ports]
        if targets:
            yield Rule(sources, targets, protocols)


def _app_rules(world: World, grant: Grant, sources: list[Range], word: str) -> Iterator[Rule]:
    """The capabilities, and for some of them others in the opposite direction."""
    if not grant.app:
        return
    holders = TAILNET if word == "*" else as_destination(world, word).all_ranges()
    yield Rule(sources, (), frozenset(), holders, grant.app, is_of_internet(world, word))
    reversed_sources = [*TAILNET, *all_subnets(world)] if word == "*" else holders
    yield from _companions(grant, reversed_sources, sources)


def _companions(grant: Grant, sources: list[Range], holders: list[Range]) -> Iterator[Rule]:
    for name, companion in COMPANIONS.items():
        if name in grant.app and sources:
            yield Rule(sources, holders=holders, capabilities={companion: None})


def _self_rules(world: World, grant: Grant, device: Device) -> Iterator[Rule]:
    """Between the devices of one owner."""
    own = [other for other in world.devices if other.user == device.user]
    if "*" in grant.sources:
        everybody = as_sources(world, ["autogroup:member"], grant.entry).devices
        allowed = [other for other in own if other in everybody]
    else:
        allowed = [other for other in own if other in as_sources(world, grant.sources, grant.entry).devices]
    if not allowed:
        return
    yield from _ip_rules(grant, addresses(allowed), [(one,) for one in addresses(own)])
    if grant.app:
        yield Rule(addresses(allowed), holders=addresses(own), capabilities=grant.app)
        yield from _companions(grant, addresses(own), addresses(allowed))


def _via_rules(world: World, grant: Grant, device: Device, sources: list[Range]) -> Iterator[Rule]:
    """Only the routers with one of the tags serve the grant, and only what they route. Without `ip` nothing
    may come in, but routers and sources know each other. (Where a router serves a part of an ipset, who
    knows whom is decided by all of it.)"""
    if not set(grant.via) & set(device.tags):
        return
    words = [word for word in grant.destinations if _served_of(world, word, device)]
    if not words:
        return
    known = Rule(
        sources,
        holders=[one for word in words for one in via_ranges(world, word)],
        is_of_internet=device.is_exit_node and any(is_of_internet(world, word) for word in words),
    )
    yield known
    ranges = [one for word in words for one in _served_of(world, word, device)]
    yield from _ip_rules(grant, sources, [(one,) for one in ranges])


def _served_of(world: World, word: str, device: Device) -> list[Range]:
    of_internet = is_of_internet(world, word)
    return [one for one in via_ranges(world, word) if _is_via(device, one, of_internet=of_internet)]


def _is_via(device: Device, one: Range, *, of_internet: bool) -> bool:
    """Whether the device serves, or could serve, some of it."""
    is_outside = device.is_exit_node and of_internet and cover(INTERNET, [one])
    return is_outside or overlap([one], parse_all(device.subnets))


def via_ranges(world: World, word: str) -> Sequence[Range]:
    """Users, tags and `*` are not where a router leads to."""
    return [] if word == "*" or identity(world, word) is not None else written_ranges(world, word)


def _grant(entry: Mapping[str, Any]) -> Grant:
    ip = [_ip_entry(text) for text in entry.get("ip") or []]
    return Grant(
        _words(entry.get("src")),
        _words(entry.get("dst")),
        ip,
        entry.get("app") or {},
        entry.get("via") or [],
        entry,
    )


def _words(words: list[str] | None) -> list[str]:
    return [word.strip() for word in words or []]


def _ip_entry(text: str) -> tuple[frozenset[int], list[Ports]]:
    name, colon, ports = text.rpartition(":")
    return protocols_of(name) if colon else DEFAULT_PROTOCOLS, spans(ports)


def _acl(entry: Mapping[str, Any]) -> Iterator[Grant]:
    for target in entry.get("dst") or []:
        host, _, ports = target.rpartition(":")
        host = host.removeprefix("[").replace("]", "")
        ip = [(protocols_of(entry.get("proto") or ""), spans(ports))]
        yield Grant(_words(entry.get("src")), [host], ip, {}, [], entry)


def protocols_of(name: str) -> frozenset[int]:
    name = name.lower()
    return frozenset({PROTOCOLS[name] if name in PROTOCOLS else int(name)}) if name else DEFAULT_PROTOCOLS


def spans(text: str) -> list[Ports]:
    result = []
    for part in text.split(","):
        first, _, last = ("0-65535" if part.strip() == "*" else part).partition("-")
        result.append((int(first), int(last or first)))
    return result
