"""Connections before their handshake: counted per origin, and queued past the limit, never refused.

One load balancer is one address, so refusing would lock honest clients out; a queue only makes a flood wait
behind itself. In a long queue the newest and the oldest take turns: in a flood those who came first have
mostly given up, and else nobody shall wait until it is over.
"""

import logging
from collections.abc import Callable

from headscale_saas.transport.line import Line

_log = logging.getLogger(__name__)


class Gate:
    """At most `limit` connections of one origin are at work at a time; the others are a `Line`."""

    __slots__ = ("_at_work", "_limit", "_patience", "_waiting")

    def __init__(self, limit: int, patience: int) -> None:
        self._limit = limit
        self._patience = patience
        self._at_work: dict[str, int] = {}
        self._waiting: dict[str, Line[Callable[[], bool]]] = {}

    def enter(self, origin: str, start: Callable[[], bool]) -> bool:
        """True if there is room now; else `start` is called later, and says whether it still wants it.

        `start` is called out of somebody else's `leave`: it should only arrange for its work to be done.
        """
        if self._at_work.get(origin, 0) < self._limit:
            self._at_work[origin] = self._at_work.get(origin, 0) + 1
            return True
        self._waiting.setdefault(origin, Line(self._patience)).append(start)
        return False

    def leave(self, origin: str) -> None:
        """Gives the place to the next who still wants it. What is wrong with one who waits is not raised."""
        waiting = self._waiting.get(origin)
        while waiting:
            if _starts(waiting.take()):
                return
        self._waiting.pop(origin, None)
        left = self._at_work.pop(origin) - 1
        if left:
            self._at_work[origin] = left

    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))


class Ticket:
    """A place behind the gate, given back once; without a gate (a trusted proxy) it is worth nothing."""

    __slots__ = ("_gate", "_origin")

    def __init__(self, gate: Gate | None, origin: str) -> None:
        self._gate = gate
        self._origin = origin

    def leave(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.leave(self._origin)


def _starts(start: Callable[[], bool]) -> bool:
    try:
        return start()
    except Exception:
        _log.exception("a connection that waited could not be started")
        return False
