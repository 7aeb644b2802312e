"""Which of many prefixes contain an address, or overlap a set: quick also for ten thousand of them."""

from bisect import bisect_right
from collections.abc import Iterable

from headscale_saas.policy import spans
from headscale_saas.policy.spans import Spans


class PrefixIndex:
    """Sets of addresses by number. They are kept as prefixes, one table for each length that occurs."""

    def __init__(self, sets: Iterable[tuple[int, Spans]]) -> None:
        tables: dict[int, dict[int, list[int]]] = {}
        starts: list[tuple[int, int]] = []
        for index, pieces in sets:
            for network in spans.networks(pieces):
                low = spans.span(network)[0]
                shift = network.max_prefixlen - network.prefixlen
                tables.setdefault(shift, {}).setdefault(low >> shift, []).append(index)
                starts.append((low, index))
        self._tables = tables
        self._starts = sorted(starts)

    def containing(self, place: int) -> list[int]:
        """The sets with this address; one may be named twice."""
        found: list[int] = []
        for shift, table in self._tables.items():
            if (sets := table.get(place >> shift)) is not None:
                found += sets
        return found

    def overlapping(self, pieces: Spans) -> set[int]:
        """The sets with any of these addresses: those around the first one, and those that begin later."""
        found: set[int] = set()
        for low, high in pieces:
            found.update(self.containing(low))
            first = bisect_right(self._starts, low, key=_place)
            last = bisect_right(self._starts, high, key=_place)
            found.update(index for _, index in self._starts[first:last])
        return found


def _place(start: tuple[int, int]) -> int:
    return start[0]
