"""Auth keys that let nobody in: told to the operator or the tailnet, but not as often as a stranger likes.

The prefix of an auth key is public, so anybody can make a tailnet refuse him, and audit logs are kept.
"""

import time
from collections.abc import Callable

from headscale_saas.observe import Ration, get_logger
from headscale_saas.observe.ration import HOUR
from headscale_saas.tailcfg.keys import MachineKey

LINES_PER_MINUTE = 10
ROWS_PER_HOUR = 500
"""Of one tailnet by one process; more than devices that share a spent key cause by themselves."""

REFUSALS = Ration(ROWS_PER_HOUR, seconds=HOUR)
"""For the audit rows of refused joins, by tailnet."""

log = get_logger(__name__)


class Misses:
    """Keys that lead to no tailnet: lines in the log."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ration = Ration(LINES_PER_MINUTE, monotonic)

    def note(self, machine: MachineKey, origin: str) -> None:
        left_out = self._ration.left_out()
        if left_out is not None:
            log.info("auth_key_unknown", machine=str(machine), peer=origin, left_out=left_out)
