"""What one client was told, over all its polls, and who waits for what."""
# ruff: noqa: ASYNC109 - the limit is part of what a test asks for

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from headscale_saas.errors import ProtocolError
from headscale_saas.swarm.identity import Mark
from headscale_saas.swarm.netmap import ClientNetmap
from headscale_saas.swarm.oracle import IsolationOracle
from headscale_saas.swarm.poll import MAX_MESSAGE
from headscale_saas.tailcfg.codec import decode
from headscale_saas.tailcfg.maps import MapResponse
from headscale_saas.wire.mapframe import HEADER_BYTES, decompress

Predicate = Callable[[ClientNetmap], bool]

SEARCHED_BYTES = 16 << 10
"""A client that only counts still looks for a watched marker, but in messages up to this size."""


class Seen(NamedTuple):
    """When (loop time) a marker arrived, and the bytes of the message that held it."""

    at: float
    size: int


class Inbox:
    """With `decodes` every message is decoded, merged and shown to the oracle; without, it is counted."""

    __slots__ = (
        "_awaited", "_fresh", "_loop", "_mark", "_oracle", "_watched", "bytes", "decodes", "frames",
        "full_netmaps", "name", "netmap", "on_full", "on_message",
    )  # fmt: skip

    def __init__(self, mark: Mark, name: str, oracle: IsolationOracle, *, decodes: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._mark, self._oracle, self.name = mark, oracle, name
        self.decodes = decodes
        self.frames = self.bytes = self.full_netmaps = 0
        self.netmap: ClientNetmap | None = None
        self.on_message: Callable[[MapResponse], None] | None = None
        """Told of each decoded message, before it is merged."""
        self.on_full: Callable[[], None] = lambda: None
        self._fresh = True
        self._awaited: list[tuple[Predicate | None, asyncio.Future[None]]] = []
        self._watched: tuple[bytes, asyncio.Future[Seen]] | None = None

    def begin(self) -> None:
        """A new poll. The netmap of the one before stays to be looked at until the first message."""
        self._fresh = True

    def take(self, payload: bytes) -> None:
        """One message, as it came. Raises ProtocolError or Invalid for what a client would refuse."""
        self.frames += 1
        self.bytes += len(payload) + HEADER_BYTES
        watched = self._watched
        if self.decodes or (watched and len(payload) <= SEARCHED_BYTES):
            text = decompress(payload, MAX_MESSAGE)
            if watched and watched[0] in text:
                self._see(watched[1], len(payload) + HEADER_BYTES)
            if self.decodes:
                self._read(text)
                return
        self._count()

    async def where(self, predicate: Predicate, timeout: float) -> ClientNetmap:
        """The netmap, as soon as the predicate holds for it. Raises TimeoutError with what it was instead."""
        if self.netmap is None or not predicate(self.netmap):
            await self._wait(predicate, timeout)
        assert self.netmap
        self._oracle.demand_clean()
        return self.netmap

    async def full(self, timeout: float) -> None:
        """Waits for the next full netmap."""
        await self._wait(None, timeout)

    def watch(self, marker: bytes) -> "asyncio.Future[Seen]":
        """Set when a message holds `marker`; one at a time, a later watch replaces it."""
        future: asyncio.Future[Seen] = self._loop.create_future()
        self._watched = (marker, future)
        return future

    def unwatch(self) -> None:
        self._watched = None

    def _see(self, future: "asyncio.Future[Seen]", size: int) -> None:
        self._watched = None
        if not future.done():
            future.set_result(Seen(self._loop.time(), size))

    def _count(self) -> None:
        if self._fresh:
            self._fresh = False
            self._became_full()

    def _read(self, text: bytes) -> None:
        self._oracle.check(self._mark, text, f"netmap of {self.name}")
        message = decode(MapResponse, text, limit=MAX_MESSAGE)
        if self.on_message:
            self.on_message(message)
        if message.keep_alive:
            return
        was_fresh, self._fresh = self._fresh, False
        if was_fresh:
            if message.node is None:
                raise ProtocolError("initial MapResponse lacked node")
            self.netmap = ClientNetmap()
        assert self.netmap
        self.netmap.apply(message)
        if was_fresh:
            self._became_full()
        self._tell()

    def _became_full(self) -> None:
        self.full_netmaps += 1
        self.on_full()
        for awaited in [awaited for awaited in self._awaited if awaited[0] is None]:
            self._fulfil(awaited)

    def _tell(self) -> None:
        assert self.netmap
        for awaited in self._awaited[:]:
            try:
                holds = awaited[0] is not None and awaited[0](self.netmap)
            except Exception as error:
                awaited[1].set_exception(error)
            else:
                if holds:
                    self._fulfil(awaited)

    def _fulfil(self, awaited: tuple[Predicate | None, asyncio.Future[None]]) -> None:
        self._awaited.remove(awaited)
        if not awaited[1].done():
            awaited[1].set_result(None)

    async def _wait(self, predicate: Predicate | None, timeout: float) -> None:
        awaited = (predicate, self._loop.create_future())
        self._awaited.append(awaited)
        try:
            async with asyncio.timeout(timeout):
                await awaited[1]
        except TimeoutError:
            raise TimeoutError(f"{self.name} waited {timeout} s in vain; its netmap: {self.netmap}") from None
        finally:
            if awaited in self._awaited:
                self._awaited.remove(awaited)
