"""Ports and protocols of rules."""

from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.tailcfg.filters import LAST_PORT, PortRange

ALL_PORTS = PortRange(0, LAST_PORT)
MAX_RANGES = 256
"""Of one entry. Each becomes an element of every filter the entry reaches."""

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipv4": 4, "ip-in-ip": 4, "tcp": 6, "egp": 8, "igp": 9, "udp": 17, "gre": 47,
    "esp": 50, "ah": 51, "ipv6-icmp": 58, "sctp": 132, "fc": 133,
}  # fmt: skip
WITH_PORTS = frozenset({PROTOCOLS["tcp"], PROTOCOLS["udp"], PROTOCOLS["sctp"]})

_UNKNOWN = "not known; use protocol number 0-255 or protocol name (icmp, tcp, udp, etc.)"


def parse_ports(text: str) -> tuple[PortRange, ...]:
    """`*`, `22`, `22,80-443`. Raises Malformed."""
    parts = text.split(",")
    if len(parts) > MAX_RANGES:
        raise Malformed(f"more than {MAX_RANGES} port ranges")
    return tuple(_range(part) for part in parts)


def _range(part: str) -> PortRange:
    if part == "*":
        return ALL_PORTS
    first, dash, last = part.partition("-")
    begin = _port(part, first, "first")
    end = _port(part, last, "last") if dash else begin
    if begin > end:
        raise _bad(part, "invalid port range: first port is greater than last port")
    if not begin and not dash:
        raise _bad(part, "first port must be >0, or use '*' for wildcard")
    return PortRange(begin, end)


def _port(part: str, digits: str, which: str) -> int:
    if not (digits.isascii() and digits.isdigit()):
        raise _bad(part, f"invalid {which} integer")
    significant = digits.lstrip("0")
    if len(significant) > 5 or int(significant or "0") > LAST_PORT:
        raise _bad(part, f"invalid {which} integer: port number out of range")
    return int(significant or "0")


def _bad(part: str, reason: str) -> Malformed:
    return Malformed(f"port range {quoted(part)}: {reason}")


def parse_protocol(text: str) -> int | None:
    """A name in any case or a number; "" is None, the default set. Raises Malformed."""
    if not text:
        return None
    if known := PROTOCOLS.get(text.lower()):
        return known
    if text == "*":
        raise Malformed(f"proto name {quoted(text)} {_UNKNOWN}")
    if not (text.isascii() and text.isdigit()):
        known_or_number = "must be a known protocol name or valid protocol number 0-255"
        raise Malformed(f"invalid protocol number: {quoted(text)} {known_or_number}")
    return _protocol_number(text)


def _protocol_number(digits: str) -> int:
    if digits[0] == "0" and digits != "0":
        raise Malformed(f"leading 0 not permitted in protocol number: {quoted(digits)}")
    if len(digits) > 3 or not 1 <= int(digits) <= 255:
        raise Malformed(f"protocol number out of range (0-255): {digits[:20]}")
    return int(digits)
