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
    first, count = 0, len(subtrahend)
    for low, high in minuend:
        while first < count and subtrahend[first][1] < low:
            first += 1
        rest, index = low, first
        while index < count and subtrahend[index][0] <= high:
            from_, to = subtrahend[index]
            if rest < from_:
                result.append((rest, from_ - 1))
            rest, index = max(rest, to + 1), index + 1
        if rest <= high:
            result.append((rest, high))
    return tuple(result)


class Changing:
    """A set that is put together step by step: one more span costs little, however many there are."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, pieces: Spans) -> None:
        for low, high in pieces:
            first, last = self._between(low - 1, high + 1)
            self._spans[first:last] = union((self._spans[first:last], ((low, high),)))

    def remove(self, pieces: Spans) -> None:
        for low, high in pieces:
            first, last = self._between(low, high)
            self._spans[first:last] = difference(tuple(self._spans[first:last]), ((low, high),))

    def settled(self) -> Spans:
        return tuple(self._spans)

    def _between(self, low: int, high: int) -> tuple[int, int]:
        """Which of the spans have an address between these."""
        first = bisect_right(self._spans, low, key=_low)
        if first and self._spans[first - 1][1] >= low:
            first -= 1
        return first, bisect_right(self._spans, high, key=_low)


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


def is_prefix(piece: Span) -> bool:
    low, high = piece
    size = high - low + 1
    return size & (size - 1) == 0 and low & (size - 1) == 0


def spelled(piece: Span) -> str:
    """As clients read it: `a`, `a/n` where one prefix says it all, else `low-high`."""
    low, high = piece
    if low == high:
        return str(address(low))
    if is_prefix(piece):
        return f"{address(low)}/{address(low).max_prefixlen - (high - low).bit_length()}"
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
