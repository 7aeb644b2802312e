"""Work that must not stall the loop: slices of a few milliseconds, round-robin by key.

Receivers only append and `submit`; the work itself runs here. Between two slices the loop polls its
sockets and timers. Work is a plain callable (one step) or an iterator whose every `next` is one step;
a step itself cannot be interrupted.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator

Work = Callable[[], None] | Iterator[None]

SLICE_SECONDS = 0.005

_log = logging.getLogger(__name__)


class FairQueue:
    """`share` is the greatest part of the loop's time that may go into this queue.

    `slice_seconds=0` runs one step in each turn of the loop: for steps that only start something whose cost
    is not seen here, such as a task.
    """

    __slots__ = ("_armed", "_clock", "_free_at", "_lanes", "_loop", "_pause_factor", "_slice")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        slice_seconds: float = SLICE_SECONDS,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._slice = slice_seconds
        self._pause_factor = (1.0 - share) / share
        self._clock = clock
        self._lanes: dict[Hashable, deque[Work]] = {}
        self._free_at = 0.0
        self._armed = False

    def submit(self, key: Hashable, work: Work) -> None:
        """Queues work behind what `key` already has; keys take turns, step by step."""
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = lane = deque()
        lane.append(work)
        if not self._armed:
            self._arm(self._clock())

    def __len__(self) -> int:
        """How much work waits or is under way."""
        return sum(map(len, self._lanes.values()))

    def _arm(self, now: float) -> None:
        self._armed = True
        if self._free_at <= now:
            self._loop.call_soon(self._run)
        else:
            self._loop.call_later(self._free_at - now, self._run)

    def _run(self) -> None:
        started = now = self._clock()
        while self._lanes:
            self._take_turn()
            now = self._clock()
            if now - started >= self._slice:
                break
        self._free_at = now + (now - started) * self._pause_factor
        self._armed = False
        if self._lanes:
            self._arm(now)

    def _take_turn(self) -> None:
        """One step of the first lane, which then goes to the back."""
        key = next(iter(self._lanes))
        lane = self._lanes.pop(key)
        if self._finished(lane[0]):
            lane.popleft()
        if later := self._lanes.pop(key, None):  # the step itself submitted for its key
            lane.extend(later)
        if lane:
            self._lanes[key] = lane

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
