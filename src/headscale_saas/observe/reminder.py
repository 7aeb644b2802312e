"""Trouble that lasts is said when it begins, ever more rarely meanwhile, and when it ends."""

import time
from collections.abc import Callable

FIRST_SECONDS = 600.0
LAST_SECONDS = 86_400.0


class Reminder:
    """Of one trouble."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._say_at: float | None = None
        self._pause = FIRST_SECONDS

    def is_due(self) -> bool:
        """It happened, or happened again: whether to say so."""
        now = self._monotonic()
        if self._say_at is not None and now < self._say_at:
            return False
        self._say_at = now + self._pause
        self._pause = min(2 * self._pause, LAST_SECONDS)
        return True

    def ends(self) -> bool:
        """It is over: whether it had begun."""
        had_begun = self._say_at is not None
        self._say_at, self._pause = None, FIRST_SECONDS
        return had_begun
