"""Auth keys that lead to no tailnet: logged for the operator, but not as often as a stranger likes."""

import time
from collections.abc import Callable

from headscale_saas.observe import get_logger
from headscale_saas.tailcfg.keys import MachineKey

LINES_PER_MINUTE = 10

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
