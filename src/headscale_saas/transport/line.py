"""A line in which nobody waits for ever, and some are always served in time."""

from collections import OrderedDict
from itertools import count
from typing import ClassVar, Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """First come, first served. In one longer than `patience` the newest and the oldest take turns: in order
    all would be served too late, and the newest first would leave some to wait until it is over.
    """

    __slots__ = ("_newest_was_first", "_patience", "_waiting")

    # Of all lines, so that a number of a line that is no more means nobody in the next one.
    _numbers: ClassVar = count()

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: OrderedDict[int, T] = OrderedDict()
        self._newest_was_first = False

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, one: T) -> int:
        """Returns its number, for `remove`."""
        number = next(self._numbers)
        self._waiting[number] = one
        return number

    def remove(self, number: int) -> None:
        """It does not wait any more; whose turn has come is not there to be removed."""
        self._waiting.pop(number, None)

    def take(self) -> T:
        """Whose turn it is. Raises KeyError if nobody waits."""
        if len(self._waiting) <= self._patience:
            return self._waiting.popitem(last=False)[1]
        self._newest_was_first = not self._newest_was_first
        return self._waiting.popitem(last=self._newest_was_first)[1]
