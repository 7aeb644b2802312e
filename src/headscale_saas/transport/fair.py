"""Work that must not stall the loop: short slices, round-robin by lane.

Receivers only append and `submit`; the work itself runs here. Between two slices the loop polls its
sockets and timers, so whoever waits for the database gets on by one answer per slice. Work is a plain
callable (one step) or an iterator whose every `next` is one step; a step itself cannot be interrupted.

A lane is whatever shall wait for itself only: a tailnet, or all strangers together. Lanes take turns of equal
time, as far as steps allow; in a lane, the iterators take turns step by step.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Hashable, Iterator
from math import inf

from headscale_saas.transport.line import Line

Work = Callable[[], None] | Iterator[None]

SLICE_SECONDS = 0.0005
"""A request asks the database some ten times, and each answer may find a slice under way."""

TURNS_PER_SLICE = 2
"""To tell one change to ten clients takes a tenth of a slice, and shall not take ten turns."""

_log = logging.getLogger(__name__)


def always() -> bool:
    return True


class FairQueue:
    """`share` is the greatest part of the loop's time that may go into this queue while `others_wait`.

    `slice_seconds=0` runs one step in each turn of the loop: for steps that only start something whose cost
    is not seen here, such as a task. Each lane is a `Line` with this `patience`.
    """

    __slots__ = (
        "_armed",
        "_clock",
        "_free_at",
        "_lanes",
        "_loop",
        "_others",
        "_patience",
        "_pause",
        "_slice",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        slice_seconds: float = SLICE_SECONDS,
        share: float = 1.0,
        others_wait: Callable[[], bool] = always,
        patience: float = inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._slice = slice_seconds
        self._pause = (1.0 - share) / share
        self._others = others_wait
        self._patience = patience
        self._clock = clock
        self._lanes: dict[Hashable, Line[Work]] = {}
        self._free_at = 0.0
        self._armed = False

    def submit(self, lane: Hashable, work: Work) -> None:
        """Queues work behind what the lane already has."""
        waiting = self._lanes.get(lane)
        if waiting is None:
            self._lanes[lane] = waiting = Line(self._patience)
        waiting.append(work)
        if not self._armed:
            self._arm(self._clock())

    def __len__(self) -> int:
        """How much work waits or is under way."""
        return sum(map(len, self._lanes.values()))

    def __bool__(self) -> bool:
        """Whether any does."""
        return bool(self._lanes)

    def _arm(self, now: float) -> None:
        self._armed = True
        if self._free_at <= now:
            self._loop.call_soon(self._run)
        else:
            self._loop.call_later(self._free_at - now, self._run)

    def _run(self) -> None:
        started = now = self._clock()
        while self._lanes:
            now = self._take_turn(now)
            if now - started >= self._slice:
                break
        os.sched_yield()  # the database may share our core, and somebody waits for its answer
        self._free_at = now + (now - started) * self._pause if self._pause and self._others() else now
        self._armed = False
        if self._lanes:
            self._arm(now)

    def _take_turn(self, now: float) -> float:
        """Some steps of the first lane, which then goes to the back. Returns the time."""
        lane, waiting = next(iter(self._lanes.items()))
        until = now + self._slice / TURNS_PER_SLICE
        while waiting:
            work = waiting.take()
            if not self._finished(work):
                waiting.append(work)
            now = self._clock()
            if now >= until:
                break
        del self._lanes[lane]
        if waiting:
            self._lanes[lane] = waiting
        return now

    def _finished(self, work: Work) -> bool:
        """Runs one step. Work that fails is over; the others go on."""
        try:
            if callable(work):
                work()
                return True
            next(work)
        except StopIteration:
            return True
        except Exception:
            _log.exception("queued work failed")
            return True
        return False
