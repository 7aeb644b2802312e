"""Sets of addresses, as lists of ranges that may overlap."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple


class Range(NamedTuple):
    """All addresses of a family from `low` to `high`, both included."""

    family: int
    low: int
    high: int


@lru_cache(4096)
def parse(text: str) -> tuple[Range, ...]:
    """`*`, an address, a prefix (host bits are ignored), or `low-high`."""
    if text == "*":
        return EVERYTHING
    if "-" in text:
        low, high = (ip_address(end) for end in text.split("-"))
        return (Range(low.version, int(low), int(high)),)
    network = ip_network(text, strict=False)
    return (Range(network.version, int(network.network_address), int(network.broadcast_address)),)


def parse_all(texts: Iterable[str]) -> list[Range]:
    return [one for text in texts for one in parse(text)]


def contain(ranges: Iterable[Range], address: str) -> bool:
    return overlap(ranges, parse(address))


def overlap(ranges: Iterable[Range], others: Iterable[Range]) -> bool:
    others = list(others)
    return any(a.family == b.family and a.low <= b.high and b.low <= a.high for a in ranges for b in others)


def without(ranges: Iterable[Range], removed: Iterable[Range]) -> list[Range]:
    result = list(ranges)
    for hole in removed:
        result = [part for one in result for part in _split(one, hole)]
    return result


def cover(ranges: Iterable[Range], others: Iterable[Range]) -> bool:
    """Whether every address of the others is in one of the ranges."""
    return not without(others, ranges)


def _split(one: Range, hole: Range) -> list[Range]:
    if not overlap([one], [hole]):
        return [one]
    parts = [Range(one.family, one.low, hole.low - 1), Range(one.family, hole.high + 1, one.high)]
    return [part for part in parts if part.low <= part.high]


EVERYTHING = (Range(4, 0, 2**32 - 1), Range(6, 0, 2**128 - 1))
TAILNET = without(
    parse_all(["100.64.0.0/10", "fd7a:115c:a1e0::/48"]),
    parse("100.115.92.0/23"),
)
"""What `*` as a source stands for, besides subnet routes: without the addresses of ChromeOS' own machines."""
INTERNET = without(
    parse_all(["0.0.0.0/0", "2000::/3"]),
    parse_all(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"]),
)
EXIT_ROUTES = ("0.0.0.0/0", "::/0")
