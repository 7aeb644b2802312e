"""Which of many sets of addresses contain one, or overlap another: quick also for ten thousand of them."""

from bisect import bisect_right
from collections.abc import Iterable

from headscale_saas.policy import spans
from headscale_saas.policy.spans import Span, Spans


class PrefixIndex:
    """Sets by number. Single prefixes, which are most, are in tables, one for each length that occurs; other
    sets (ranges, unions) are asked one by one."""

    def __init__(self, sets: Iterable[tuple[int, Spans]]) -> None:
        self._tables: dict[int, dict[int, list[int]]] = {}
        self._others: list[tuple[int, Spans]] = []
        starts: list[tuple[int, int]] = []
        for number, pieces in sets:
            if len(pieces) == 1 and spans.is_prefix(pieces[0]):
                self._put(number, pieces[0])
                starts.append((pieces[0][0], number))
            else:
                self._others.append((number, pieces))
        self._starts = sorted(starts)

    def containing(self, place: int) -> list[int]:
        """The sets with this address."""
        found = [number for number, pieces in self._others if spans.contains(pieces, place)]
        for shift, table in self._tables.items():
            found += table.get(place >> shift, ())
        return found

    def overlapping(self, pieces: Spans) -> set[int]:
        """The sets with any of these addresses."""
        found = {number for number, other in self._others if spans.overlap(other, pieces)}
        for low, high in pieces:
            # Prefixes around the first address, and those that begin later.
            found.update(self.containing(low))
            first = bisect_right(self._starts, low, key=_place)
            last = bisect_right(self._starts, high, key=_place)
            found.update(number for _, number in self._starts[first:last])
        return found

    def _put(self, number: int, prefix: Span) -> None:
        low, high = prefix
        shift = (high - low).bit_length()
        self._tables.setdefault(shift, {}).setdefault(low >> shift, []).append(number)


def _place(start: tuple[int, int]) -> int:
    return start[0]
