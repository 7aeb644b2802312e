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

    def enter(self, origin: str, start: Callable[[], bool]) -> "Ticket":
        """A place at work if there is room now, else in the line. Then `start` is called when its turn comes,
        and says whether it takes the place at work, for which it makes a ticket of its own.

        `start` is called out of somebody else's `leave`: it should only arrange for its work to be done.
        """
        if self._at_work.get(origin, 0) < self._limit:
            self._at_work[origin] = self._at_work.get(origin, 0) + 1
            return Ticket(self, origin)
        line = self._waiting.setdefault(origin, Line(self._patience))
        return Ticket(self, origin, line.append(start))

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

    def give_up(self, origin: str, number: int) -> None:
        """Leaves the line."""
        if waiting := self._waiting.get(origin):
            waiting.remove(number)
            if not waiting:
                del self._waiting[origin]

    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))


class Ticket:
    """A place behind the gate or in its line, given back once; without a gate (a trusted proxy) it is worth
    nothing. `waits`: it is in the line.
    """

    __slots__ = ("_gate", "_number", "_origin")

    def __init__(self, gate: Gate | None, origin: str, number: int | None = None) -> None:
        self._gate = gate
        self._origin = origin
        self._number = number

    @property
    def waits(self) -> bool:
        return self._number is not None

    def leave(self) -> None:
        gate, self._gate = self._gate, None
        if gate is None:
            return
        if self._number is None:
            gate.leave(self._origin)
        else:
            gate.give_up(self._origin, self._number)


def _starts(start: Callable[[], bool]) -> bool:
    try:
        return start()
    except Exception:
        _log.exception("a connection that waited could not be started")
        return False
