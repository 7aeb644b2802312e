"""The long poll of a client: frames out of the body, and the watchdog over their silence."""

import asyncio
from collections.abc import Callable

from headscale_saas.errors import Error, ProtocolError, Unavailable
from headscale_saas.swarm.http2 import Headers
from headscale_saas.swarm.replies import SHOWN, UnexpectedStatus, shown
from headscale_saas.wire.mapframe import FrameReader

WATCHDOG_SECONDS = 120.0
"""From the request to the first frame, and between frames (`direct.go:watchdogTimeout`)."""

MAX_MESSAGE = 64 << 20
"""Ours; the official daemon has no limit."""


class MapPoll:
    """The sink of one poll. `ended` never has a result: a poll ends by an error, if only a polite one."""

    __slots__ = ("_heard", "_loop", "_on_message", "_reader", "_refusal", "_status", "_timer", "ended")

    def __init__(self, on_message: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._reader = FrameReader(MAX_MESSAGE)
        self._status = 0
        self._refusal = b""
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(WATCHDOG_SECONDS, self._watch)
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._timer.cancel()
        self.ended.cancel()

    def on_headers(self, status: int, headers: Headers) -> None:
        self._status = status

    def on_data(self, data: bytes) -> None:
        if self._status != 200:
            self._refusal += data[: SHOWN - len(self._refusal)]
            return
        for payload in self._reader.feed(data):
            self._heard = self._loop.time()
            self._on_message(payload)

    def on_end(self) -> None:
        if self._status != 200:
            self._end(UnexpectedStatus("/machine/map", self._status, shown(self._refusal)))
        elif self._reader.pending:
            self._end(ProtocolError("the poll ended within a message"))
        else:
            self._end(Unavailable("the server ended the poll"))

    def on_lost(self, error: Error) -> None:
        self._end(error)

    def _end(self, error: Error) -> None:
        self._timer.cancel()
        if not self.ended.done():
            self.ended.set_exception(error)

    def _watch(self) -> None:
        silence = self._loop.time() - self._heard
        if silence >= WATCHDOG_SECONDS:
            self._end(Unavailable("map response long-poll timed out"))
        else:
            self._timer = self._loop.call_later(WATCHDOG_SECONDS - silence, self._watch)
