"""Sets of addresses: union, difference, containment, overlap, and their spellings.

Both families lie on one line of numbers, IPv6 far behind IPv4, so that no arithmetic asks for the family.
A set is a sorted tuple of inclusive (low, high) pairs that neither overlap nor touch.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv6Address,
    ip_address,
    ip_network,
    summarize_address_range,
)

from headscale_saas.tailnet.model import IPNetwork

Span = tuple[int, int]
Spans = tuple[Span, ...]

# Far behind the last IPv4 address: the families never touch; and a multiple of every prefix's size.
_V6 = 1 << 128

NONE: Spans = ()


def number(address: IPv4Address | IPv6Address) -> int:
    """Where an address stands on the line."""
    return int(address) if address.version == 4 else _V6 + int(address)


def address(place: int) -> IPv4Address | IPv6Address:
    return IPv4Address(place) if place < _V6 else IPv6Address(place - _V6)


def span(network: IPNetwork) -> Span:
    return number(network.network_address), number(network.broadcast_address)


def span_between(low: str, high: str) -> Span:
    """An inclusive range, both ends of one family."""
    return number(ip_address(low)), number(ip_address(high))


def of(networks: Iterable[IPNetwork | str]) -> Spans:
    """The union of prefixes."""
    return union((span(ip_network(network)),) for network in networks)


def union(sets: Iterable[Iterable[Span]]) -> Spans:
    result: list[Span] = []
    for low, high in sorted(piece for pieces in sets for piece in pieces):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return tuple(result)


def difference(minuend: Spans, subtrahend: Spans) -> Spans:
    """What is in the first set and not in the second."""
    result: list[Span] = []
    for low, high in minuend:
        rest = low
        for from_, to in subtrahend:
            if to < rest or from_ > high:
                continue
            if rest < from_:
                result.append((rest, from_ - 1))
            rest = to + 1
        if rest <= high:
            result.append((rest, high))
    return tuple(result)


def intersection(one: Spans, other: Spans) -> Spans:
    return difference(one, difference(one, other))


def contains(spans: Spans, place: int) -> bool:
    index = bisect_right(spans, place, key=_low) - 1
    return index >= 0 and place <= spans[index][1]


def covers(spans: Spans, pieces: Spans) -> bool:
    """Whether all of the second set is in the first."""
    return all(
        (index := bisect_right(spans, low, key=_low) - 1) >= 0 and high <= spans[index][1]
        for low, high in pieces
    )


def overlap(spans: Spans, pieces: Spans) -> bool:
    """Whether the two sets have an address in common."""
    return any(
        (index := bisect_right(spans, high, key=_low) - 1) >= 0 and low <= spans[index][1]
        for low, high in pieces
    )


def networks(pieces: Iterable[Span]) -> Iterator[IPNetwork]:
    """The fewest prefixes that make up the set, in order."""
    for low, high in pieces:
        yield from summarize_address_range(address(low), address(high))


def spelled(piece: Span) -> str:
    """As clients read it: `a`, `a/n` where one prefix says it all, else `low-high`."""
    low, high = piece
    if low == high:
        return str(address(low))
    size = high - low + 1
    if size & (size - 1) == 0 and low & (size - 1) == 0:
        return f"{address(low)}/{address(low).max_prefixlen - size.bit_length() + 1}"
    return ranged(piece)


def ranged(piece: Span) -> str:
    """`low-high`, also where a prefix would do."""
    return f"{address(piece[0])}-{address(piece[1])}"


def _low(piece: Span) -> int:
    return piece[0]


TAILNET_V4 = difference(of(["100.64.0.0/10"]), of(["100.115.92.0/23"]))
TAILNET_V6 = of(["fd7a:115c:a1e0::/48"])
TAILNET = TAILNET_V4 + TAILNET_V6
"""Where nodes have their addresses: without the range of ChromeOS's containers."""

INTERNET = difference(
    of(["0.0.0.0/0", "2000::/3"]),
    of(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"]),
)
EVERYTHING_V4 = of(["0.0.0.0/0"])
EVERYTHING_V6 = of(["::/0"])
EVERYTHING = EVERYTHING_V4 + EVERYTHING_V6
