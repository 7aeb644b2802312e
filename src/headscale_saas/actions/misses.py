"""Auth keys that let nobody in: told to the operator or the tailnet, but not as often as a stranger likes.

The prefix of an auth key is public, so anybody can make a tailnet refuse him, and audit logs are kept.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable

from headscale_saas.observe import get_logger
from headscale_saas.tailcfg.keys import MachineKey

LINES_PER_MINUTE = 10
ROWS_PER_MINUTE = 100
"""Of one tailnet by one process; more than devices that share a spent key cause by themselves."""

log = get_logger(__name__)


class Misses:
    """At most so many lines a minute; the first line after silence says how many were left out."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._minute = -1
        self._lines = 0
        self.unsaid = 0

    def note(self, machine: MachineKey, origin: str) -> None:
        minute = int(self._monotonic() // 60)
        if minute != self._minute:
            self._minute, self._lines = minute, 0
        if self._lines == LINES_PER_MINUTE:
            self.unsaid += 1
            return
        self._lines += 1
        log.info("auth_key_unknown", machine=str(machine), peer=origin, left_out=self.unsaid)
        self.unsaid = 0


class Refusals:
    """The audit rows of refused joins, so many a minute for each tailnet; the next minute's first one
    says how many were left out."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._minute = -1
        self._rows: Counter[Hashable] = Counter()
        self._unsaid: Counter[Hashable] = Counter()

    def left_out(self, tailnet: Hashable) -> int | None:
        """How many were left out before this one; None: so is this one."""
        minute = int(self._monotonic() // 60)
        if minute != self._minute:
            self._minute, self._rows = minute, Counter()
        if self._rows[tailnet] == ROWS_PER_MINUTE:
            self._unsaid[tailnet] += 1
            return None
        self._rows[tailnet] += 1
        return self._unsaid.pop(tailnet, 0)
