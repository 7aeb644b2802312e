"""Deadlines without a timer each: one sweep a second looks at a number per connection."""

import asyncio
from math import inf
from typing import Protocol


class Timed(Protocol):
    """Something with deadlines. `check_at` is the earliest, on the loop's clock; `inf` if there is none."""

    check_at: float

    def check(self, now: float) -> None:
        """Acts on the deadlines that have passed, and sets `check_at` to the next."""


NEVER = inf


class Sweep:
    """Runs while it has members; a member is late by one sweep at most."""

    __slots__ = ("_empty", "_loop", "_seconds", "_timer", "members")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self.members: set[Timed] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, member: Timed) -> None:
        self.members.add(member)
        self._empty.clear()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._sweep)

    def discard(self, member: Timed) -> None:
        self.members.discard(member)
        if not self.members:
            self._empty.set()

    async def emptied(self) -> None:
        """Waits until there is no member."""
        await self._empty.wait()

    def _sweep(self) -> None:
        now = self._loop.time()
        for member in [member for member in self.members if member.check_at <= now]:
            member.check(now)
        self._timer = self._loop.call_later(self._seconds, self._sweep) if self.members else None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
