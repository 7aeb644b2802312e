"""Where something stands in a policy file."""

from bisect import bisect_right
from functools import cached_property

import msgspec


class Position(msgspec.Struct, frozen=True, gc=False, order=True):
    """Where something begins in the text: both count from 1, `column` in bytes."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class Text:
    """The bytes of a policy file, and what place an offset in them is."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        for line in self.raw.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        return starts[:-1]

    def position(self, at: int) -> Position:
        line = bisect_right(self._line_starts, at)
        return Position(line, at - self._line_starts[line - 1] + 1)
