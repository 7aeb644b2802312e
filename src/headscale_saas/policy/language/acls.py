"""`acls`: rules of the form src -> host:ports."""

from headscale_saas.policy.language.document import Acl, AclTarget
from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.places import ACL_DESTINATION, ACL_SOURCE
from headscale_saas.policy.language.ports import ALL_PORTS, WITH_PORTS, parse_ports, parse_protocol
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.recognition import read_network
from headscale_saas.policy.language.rules import check_self, read_postures
from headscale_saas.policy.language.selectors import ANY
from headscale_saas.policy.language.shapes import fields, items, optional_string, read, spellings, string
from headscale_saas.policy.language.values import Value

_FIELDS = spellings("action", "src", "dst", "proto", "srcPosture", users="src", ports="dst")


def read_acls(value: Value | None, names: Names) -> tuple[Acl, ...] | None:
    """None if there is no such section."""
    return tuple(_acl(item, names) for item in items(value)) if value else None


def _acl(value: Value, names: Names) -> Acl:
    rule = fields(value, _FIELDS, ignored="#")
    action = optional_string(rule.get("action"))
    if action != "accept":
        raise rule.get("action", value).refused(f"action={quoted(action)} is not supported")
    protocol = read(rule["proto"], parse_protocol) if "proto" in rule else None
    portless = string(rule["proto"]) if protocol is not None and protocol not in WITH_PORTS else ""
    targets = tuple(_target(item, portless, names) for item in items(rule.get("dst")))
    sources = ACL_SOURCE.read_all(rule.get("src"), names)
    check_self(rule.get("src", value), sources, [target.host for target in targets], allowed=[ANY])
    return Acl(
        position=value.position,
        sources=sources,
        targets=targets,
        protocol=protocol,
        postures=read_postures(rule.get("srcPosture"), names),
    )


def _target(value: Value, portless: str, names: Names) -> AclTarget:
    """`portless` is the rule's protocol if it is one without ports."""
    word = string(value)
    before = f"dst={quoted(word)}: "
    host, ports = read(value, split_target, before=before)
    try:
        ranges = parse_ports(ports)
    except Malformed as malformed:
        raise value.refused(before + str(malformed)) from None
    if portless and any(one != ALL_PORTS for one in ranges):
        unfit = f'protocol does not support specific ports: {quoted(portless)}, only "*" is allowed'
        raise value.refused(before + unfit)
    return AclTarget(ACL_DESTINATION.read(value, names, host), ranges)


def split_target(word: str) -> tuple[str, str]:
    """Host and ports: these follow the last colon. Raises Malformed."""
    host, colon, ports = word.rpartition(":")
    if not colon:
        raise Malformed("hostport must contain a colon")
    if not host:
        raise Malformed("input cannot start with a colon character")
    if not ports:
        raise Malformed("input cannot end with a colon character")
    return _without_brackets(host), ports


def _without_brackets(host: str) -> str:
    """`[fd7a::1]` and `[fd7a::]/64`."""
    if not host.startswith("["):
        return host
    address, _, length = host[1:].partition("]")
    network = read_network(address + length)
    if network is None or network.version != 6 or "/" in address:
        raise Malformed(f"square brackets are only valid around IPv6 addresses: {quoted(host)}")
    return address + length
