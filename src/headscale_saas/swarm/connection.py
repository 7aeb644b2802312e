"""One Noise connection to `/ts2021`: upgrade, handshake, early payload, then HTTP/2."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import Self, cast

from headscale_saas.errors import Error, Unavailable
from headscale_saas.swarm.http2 import Headers, Http2Client, Sink
from headscale_saas.swarm.replies import Reply
from headscale_saas.swarm.site import DIAL_SECONDS, Site
from headscale_saas.swarm.upgrade import after_upgrade, inner_headers, upgrade_request
from headscale_saas.tailcfg.keys import ChallengeKey, MachineKey, PrivateKey
from headscale_saas.wire.early import EarlyReader
from headscale_saas.wire.noise import Initiator
from headscale_saas.wire.records import Opener, Sealer

TCP_REPAIR = 19
BROKEN_OFF = "broken_off"
"""The code of an Unavailable that the client brought on itself."""


class Connection(asyncio.Protocol):
    """Made by `dial`. After `closed` nothing can be asked on it; all that was asked has been told so."""

    __slots__ = (
        "_buffer", "_early", "_feed", "_http", "_initiator", "_opener", "_ready", "_sealer", "_site",
        "closed", "gone", "transport",
    )  # fmt: skip

    def __init__(self, site: Site, machine: PrivateKey, server: MachineKey) -> None:
        self._site = site
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._initiator: Initiator | None = Initiator(
            machine, server, PrivateKey(os.urandom(32)), protocol_version=site.capver
        )
        self._feed: Callable[[bytes], None] = self._upgrade
        self._buffer = bytearray()
        self._early = EarlyReader()
        self._http = Http2Client()
        self.closed = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Set when the socket is closed."""

    @classmethod
    async def dial(cls, site: Site, machine: PrivateKey) -> Self:
        """A connection that may be used. Raises OSError, ProtocolError or Unavailable."""
        server = await site.server_key()
        connection = cls(site, machine, server)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, site.host, site.port, ssl=site.unverified
                )
                await connection._ready
        except TimeoutError:
            raise Unavailable("the dial took more than 10 s") from None
        finally:
            connection._ready.cancel()  # without effect if it is done
            if connection._ready.cancelled() or connection._ready.exception():
                connection.abort()
        return connection

    @property
    def challenge(self) -> ChallengeKey | None:
        """What the early payload offered; None if there was none (or not yet)."""
        return self._early.challenge

    @property
    def usable(self) -> bool:
        return not self.closed and not self._http.draining

    def start(self, path: str, body: bytes, sink: Sink, headers: Headers, method: str = "POST") -> int:
        """Begins a request whose answer goes to `sink`; returns what `cancel` takes."""
        if self.closed:
            raise Unavailable("the connection is closed")
        stream_id = self._http.request(
            inner_headers(self._site.authority, method, path, body, headers), body, sink
        )
        self._flush()
        return stream_id

    def cancel(self, stream_id: int) -> None:
        if not self.closed:
            self._http.cancel(stream_id)
            self._flush()

    async def call(self, path: str, body: bytes, headers: Headers, method: str = "POST") -> Reply:
        """The whole answer; cancelled, it resets the stream. Raises Unavailable if the stream is lost."""
        reply = Reply()
        stream_id = self.start(path, body, reply, headers, method)
        try:
            await reply.done
        except asyncio.CancelledError:
            self.cancel(stream_id)
            raise
        return reply

    def pause(self) -> None:
        """Stops reading: TCP's window fills, then the server's buffers."""
        self.transport.pause_reading()

    def resume(self) -> None:
        self.transport.resume_reading()

    async def close(self) -> None:
        """Leaves in order: what is written arrives, then FIN. Returns when the socket is closed, which is
        broken off if nobody reads for 10 s."""
        self.transport.close()
        _, late = await asyncio.wait([self.gone], timeout=DIAL_SECONDS)
        if late:
            self.transport.abort()
            await self.gone

    def abort(self) -> None:
        """Leaves at once with RST."""
        if transport := getattr(self, "transport", None):
            if sock := cast(socket.socket | None, transport.get_extra_info("socket")):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._fail(Unavailable("the client broke the connection", code=BROKEN_OFF))

    def vanish(self) -> bool:
        """Leaves without a packet, as a device that lost its network: the server learns it when it next
        writes. Needs CAP_NET_ADMIN on Linux; without, it is an `abort`, and False."""
        sock = cast(socket.socket, self.transport.get_extra_info("socket"))
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError:
            self.abort()
            return False
        self.transport.abort()
        return True

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        assert self._initiator
        self.transport.write(upgrade_request(self._site.authority, self._initiator.initiation))

    def data_received(self, data: bytes) -> None:
        try:
            self._feed(data)
        except Error as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(Unavailable(f"the connection was lost: {error or 'closed'}"))
        self.gone.set_result(None)

    # --- what arrives, stage by stage ---

    def _upgrade(self, data: bytes) -> None:
        self._buffer += data
        rest = after_upgrade(bytes(self._buffer))
        if rest is not None:
            self._buffer, self._feed = bytearray(), self._handshake
            self._handshake(rest)

    def _handshake(self, data: bytes) -> None:
        self._buffer += data
        assert self._initiator
        channel = self._initiator.take(self._buffer)
        if channel:
            self._sealer, self._opener = Sealer(channel.client_to_server), Opener(channel.server_to_client)
            rest, self._buffer, self._initiator = bytes(self._buffer), bytearray(), None
            self._feed = self._before_http
            if not self._ready.done():  # whoever dialled may have given up
                self._ready.set_result(None)
            self._flush()
            self._before_http(rest)

    def _before_http(self, data: bytes) -> None:
        for plaintext in self._opener.feed(data):
            if rest := self._early.feed(plaintext):
                self._feed = self._records
                self._http.feed(rest)
        self._flush()

    def _records(self, data: bytes) -> None:
        feed = self._http.feed
        for plaintext in self._opener.feed(data):
            feed(plaintext)
        self._flush()

    def _flush(self) -> None:
        if (outgoing := self._http.outgoing) and not self.closed:
            self.transport.write(self._sealer.seal(bytes(outgoing)))
            outgoing.clear()

    def _fail(self, error: Error) -> None:
        if self.closed:
            return
        self.closed = True
        self.transport.abort()
        if not self._ready.done():
            self._ready.set_exception(error)
        self._http.lose(error)
