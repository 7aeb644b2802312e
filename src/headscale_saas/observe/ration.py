"""What others can cause as often as they like is told so many times in a while, and then counted."""

import time
from collections import Counter
from collections.abc import Callable, Hashable

MINUTE = 60.0
HOUR = 3600.0
MOST_KEYS = 100_000
"""With more of them in one while, all have their share anew: that is told too often, but bounded."""


class Ration:
    """So many for each key in `seconds`. Keys are tailnets, nodes, kinds of refusal, never what was sent."""

    def __init__(
        self, share: int, monotonic: Callable[[], float] = time.monotonic, *, seconds: float = MINUTE
    ) -> None:
        self._share = share
        self._monotonic = monotonic
        self._seconds = seconds
        self._while = -1
        self._told: Counter[Hashable] = Counter()
        self._untold: Counter[Hashable] = Counter()

    def left_out(self, key: Hashable = None) -> int | None:
        """How many were left out before this one, which may be told; None: so is this one."""
        now = int(self._monotonic() // self._seconds)
        if now != self._while or len(self._told) >= MOST_KEYS:
            self._while, self._told = now, Counter()
        if len(self._untold) >= MOST_KEYS:
            self._untold.clear()
        if self._told[key] == self._share:
            self._untold[key] += 1
            return None
        self._told[key] += 1
        return self._untold.pop(key, 0)
