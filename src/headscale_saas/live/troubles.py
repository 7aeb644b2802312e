"""Tailnets that cannot be served, for the log: told when it begins, ever more rarely, and when it ends."""

from collections import OrderedDict

from headscale_saas.errors import Error, NotFound
from headscale_saas.observe import Reminder, get_logger
from headscale_saas.tailnet.model import TailnetId

MOST = 10_000
"""The oldest troubles are forgotten, and said again."""

log = get_logger(__name__)


class Troubles:
    """Its clients come again every second, and each time it is tried anew."""

    def __init__(self) -> None:
        self._known: OrderedDict[TailnetId, tuple[str, Reminder]] = OrderedDict()

    def begin(self, tailnet: TailnetId, error: Error) -> None:
        """It could not be served. One that is gone comes to an end with that."""
        if isinstance(error, NotFound):
            self._known.pop(tailnet, None)
            log.info("tailnet_gone", tailnet=tailnet)
            return
        reason, reminder = self._known.get(tailnet, ("", Reminder()))
        if reason != error.message:
            reminder = Reminder()
        self._known[tailnet] = error.message, reminder
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        if reminder.is_due():
            log.error("tailnet_not_served", tailnet=tailnet, code=error.code, reason=error.message)

    def end(self, tailnet: TailnetId) -> None:
        """It is served."""
        if self._known.pop(tailnet, None):
            log.warning("tailnet_served_again", tailnet=tailnet)
