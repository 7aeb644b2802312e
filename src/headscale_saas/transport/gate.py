"""Connections before their handshake: counted per origin, and queued past the limit.

One load balancer is one address, so refusing would lock honest clients out; a queue only makes a flood wait
behind itself. In a long queue the newest and the oldest take turns: in a flood those who came first have
mostly given up, and else nobody shall wait until it is over.

A place at work is held by who has sent something and until that is dealt with, so that nobody keeps others
waiting by being silent. Only where the process runs out of files, connections are turned away.
"""

import logging
from collections.abc import Callable
from functools import partial

from headscale_saas.transport.line import Line

GREED = 2
"""An origin may hold this many times the connections that are left free: one alone two thirds of all, two of
them two fifths each. So there is always room for somebody else (a dynamic threshold, as switches share their
buffers)."""

_log = logging.getLogger(__name__)


class Gate:
    """At most `limit` connections of one origin are at work at a time; the others are a `Line`.

    `free` says how many connections more the process may have.
    """

    __slots__ = ("_at_work", "_free", "_here", "_limit", "_patience", "_waiting")

    def __init__(self, limit: int, patience: int, free: Callable[[], int]) -> None:
        self._limit = limit
        self._patience = patience
        self._free = free
        self._here: dict[str, int] = {}
        self._at_work: dict[str, int] = {}
        self._waiting: dict[str, Line[Callable[[], bool]]] = {}

    def arrive(self, origin: str) -> "Ticket | None":
        """Counts a new connection; None: there is no room for one more of this origin."""
        here = self._here.get(origin, 0)
        if here >= GREED * self._free():
            return None
        self._here[origin] = here + 1
        return Ticket(self, origin)

    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    # What tickets call

    def enter(self, origin: str, start: Callable[[], bool]) -> int | None:
        """A place at work (None), or the number in the line."""
        at_work = self._at_work.get(origin, 0)
        if at_work < self._limit:
            self._at_work[origin] = at_work + 1
            return None
        return self._waiting.setdefault(origin, Line(self._patience)).append(start)

    def pass_on(self, origin: str) -> None:
        """Gives a place to the next who still wants it. What is wrong with one who waits is not raised."""
        waiting = self._waiting.get(origin)
        while waiting:
            if _starts(waiting.take()):
                return
        self._waiting.pop(origin, None)
        _one_less(self._at_work, origin)

    def give_up(self, origin: str, number: int) -> None:
        """Leaves the line."""
        if waiting := self._waiting.get(origin):
            waiting.remove(number)
            if not waiting:
                del self._waiting[origin]

    def depart(self, origin: str) -> None:
        _one_less(self._here, origin)


class Ticket:
    """One connection at the gate, until it leaves; without a gate (a trusted proxy) it never waits."""

    __slots__ = ("_gate", "_number", "_origin", "_works")

    def __init__(self, gate: Gate | None, origin: str) -> None:
        self._gate = gate
        self._origin = origin
        self._number: int | None = None
        self._works = False

    def enter(self, start: Callable[[], bool]) -> bool:
        """Whether there is a place at work for it now. Else `start` is called when its turn comes, and says
        whether it still wants the place; it should only arrange for its work to be done, since it is called
        in the midst of somebody else's end.
        """
        if self._gate is None or self._works:
            return True
        self._number = self._gate.enter(self._origin, partial(self._begin, start))
        self._works = self._number is None
        return self._works

    def rest(self) -> None:
        """Gives back its place at work or in the line; to be used again."""
        number, self._number = self._number, None
        works, self._works = self._works, False
        if self._gate is not None and works:
            self._gate.pass_on(self._origin)
        elif self._gate is not None and number is not None:
            self._gate.give_up(self._origin, number)

    def leave(self) -> None:
        """For good: it ended, or we know who it is."""
        self.rest()
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.depart(self._origin)

    def _begin(self, start: Callable[[], bool]) -> bool:
        self._number = None
        self._works = start()
        return self._works


def _one_less(counts: dict[str, int], origin: str) -> None:
    counts[origin] -= 1
    if not counts[origin]:
        del counts[origin]


def _starts(start: Callable[[], bool]) -> bool:
    try:
        return start()
    except Exception:
        _log.exception("a connection that waited could not be started")
        return False
