"""Few places, given in turns to those who ask: whoever asks for thousands waits behind himself."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, IPv6Network
from typing import Generic, TypeVar

from headscale_saas.errors import Unavailable

WAIT_SECONDS = 10.0

T = TypeVar("T")


def origin_of(address: str) -> str:
    """What counts as one origin: a whole /64 of IPv6, since whoever has one address there has them all.

    Not of the /64 in which a listener for both shows all of IPv4.
    """
    try:
        ip = IPv6Address(address)
    except ValueError:
        return address
    return str(ip.ipv4_mapped or IPv6Network((int(ip) >> 64 << 64, 64)))


def too_busy() -> Unavailable:
    return Unavailable("the server is too busy", code="database_busy")


class ByTurns(Generic[T]):
    """What waits, by key. The keys take turns, and of each the oldest comes first."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def append(self, key: Hashable, one: T) -> None:
        self._lines.setdefault(key, deque()).append(one)

    def take(self) -> T:
        """Whose turn it is. Raises StopIteration if nobody waits."""
        key = next(iter(self._lines))
        line = self._lines.pop(key)
        one = line.popleft()
        if line:
            self._lines[key] = line  # at the end: the others come first
        return one


class Turns:
    """At most `places` at once. A place that becomes free goes to the next key, and there to the oldest."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting = ByTurns[asyncio.Future[None]]()

    @asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncIterator[None]:
        """Raises Unavailable after 10 s of waiting."""
        await self._enter(key)
        try:
            yield
        finally:
            self._pass_on()

    async def _enter(self, key: Hashable) -> None:
        if self._free:
            self._free -= 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(key, future)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await future
        except BaseException as problem:
            if future.done() and not future.cancelled():
                self._pass_on()  # the place came at the same moment
            future.cancel()
            if isinstance(problem, TimeoutError):
                raise too_busy() from None
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            future = self._waiting.take()
            if not future.done():
                future.set_result(None)
                return
        self._free += 1
