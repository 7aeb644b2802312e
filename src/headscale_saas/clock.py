"""What time it is. Behaviour takes a `Clock`; pure rooms take the time itself as an argument."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


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
