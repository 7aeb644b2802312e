"""What time it is. Behaviour takes a `Clock`; pure rooms take the time itself as an argument."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

TICK_SECONDS = 0.5
PHASE_SECONDS = random.uniform(0, TICK_SECONDS)
"""Processes of one machine have ticks of their own: they are not to ask the database for the same at once."""


async def pause(seconds: float) -> None:
    """Sleeps until the tick nearest to then; shorter than a tick, exactly so long.

    For what nobody waits for. Tasks that look around by themselves now and then wake together so, and once
    the processor has our code at hand, each takes a fraction of what it takes alone.
    """
    now = asyncio.get_running_loop().time() + PHASE_SECONDS
    await asyncio.sleep(seconds if seconds < TICK_SECONDS else to_tick(seconds, now))


def to_tick(seconds: float, now: float) -> float:
    """How long it is to the tick nearest to `seconds` from now, at least to the next."""
    ticks = max(round((now + seconds) / TICK_SECONDS), now // TICK_SECONDS + 1)
    return ticks * TICK_SECONDS - now


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock: aware, UTC. For what is stored and shown."""

    def monotonic(self) -> float:
        """Seconds since some moment, never backwards. For deadlines and durations."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now
        self._elapsed = timedelta()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed.total_seconds()

    def advance(self, by: timedelta | float) -> None:
        """`by` is a duration, or seconds. Time does not run backwards: use `set_wall_clock` for that."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta():
            raise ValueError("a clock only advances")
        self._now += step
        self._elapsed += step

    def set_wall_clock(self, now: datetime) -> None:
        """What an operator or NTP does to a machine: the wall clock jumps, the monotonic one does not."""
        self._now = now
