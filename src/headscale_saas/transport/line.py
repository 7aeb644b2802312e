"""A line in which nobody waits for ever, and some are always served in time."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """First come, first served. In one longer than `patience` the newest and the oldest take turns: in order
    all would be served too late, and the newest first would leave some to wait until it is over.
    """

    __slots__ = ("_newest_was_first", "_patience", "_waiting")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: deque[T] = deque()
        self._newest_was_first = False

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, one: T) -> None:
        self._waiting.append(one)

    def take(self) -> T:
        """Whose turn it is. Raises IndexError if nobody waits."""
        if len(self._waiting) <= self._patience:
            return self._waiting.popleft()
        self._newest_was_first = not self._newest_was_first
        return self._waiting.pop() if self._newest_was_first else self._waiting.popleft()
