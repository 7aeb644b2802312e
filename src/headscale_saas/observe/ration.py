"""What strangers can cause as often as they like is told so many times a minute, and then counted."""

import time
from collections import Counter
from collections.abc import Callable, Hashable


class Ration:
    """So many a minute for each key. Keys must be few: tailnets, kinds of refusal, never what was sent."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._monotonic = monotonic
        self._minute = -1
        self._told: Counter[Hashable] = Counter()
        self._untold: Counter[Hashable] = Counter()

    def left_out(self, key: Hashable = None) -> int | None:
        """How many were left out before this one, which may be told; None: so is this one."""
        minute = int(self._monotonic() // 60)
        if minute != self._minute:
            self._minute, self._told = minute, Counter()
        if self._told[key] == self._per_minute:
            self._untold[key] += 1
            return None
        self._told[key] += 1
        return self._untold.pop(key, 0)
