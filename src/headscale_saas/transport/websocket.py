"""The WebSocket form of `/ts2021`: Noise bytes in binary messages, cut anywhere (`net/wsconn/wsconn.go`)."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import ProtocolError as WebSocketError
from wsproto.utilities import RemoteProtocolError

from headscale_saas.errors import Invalid
from headscale_saas.transport.limits import Limits
from headscale_saas.wire.records import MAX_RECORD


class WebSocket(asyncio.Protocol):
    """Protocol to the socket and transport to the Noise connection inside, which does not know of it."""

    __slots__ = ("_answer", "_clock", "_inner", "_limits", "_pings", "_since", "_socket", "_ws")

    def __init__(
        self,
        inner: asyncio.Protocol,
        headers: dict[str, str],
        subprotocol: str,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        """Raises Invalid if the request is no WebSocket handshake."""
        self._inner = inner
        self._limits = limits
        self._clock = clock
        self._socket: asyncio.Transport | None = None
        self._since, self._pings = clock(), 0
        self._ws = WSConnection(ConnectionType.SERVER)
        self._answer = _accept(self._ws, headers, subprotocol)

    # Towards the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)
        self._socket.write(self._answer)
        self._inner.connection_made(cast(asyncio.BaseTransport, self))

    def data_received(self, data: bytes) -> None:
        try:
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._on_event(event)
        except WebSocketError:
            self._end(CloseReason.PROTOCOL_ERROR)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    # Towards the Noise connection

    def write(self, data: bytes) -> None:
        """In messages of at most one record's size: some WebSocket libraries read no more than 32 KiB."""
        if self._socket is None or self._socket.is_closing():
            return
        view = memoryview(data)
        starts = range(0, len(data), MAX_RECORD)
        parts = [bytes(view[start : start + MAX_RECORD]) for start in starts]
        self._socket.write(b"".join([self._ws.send(BytesMessage(part)) for part in parts]))

    def close(self) -> None:
        self._end(CloseReason.NORMAL_CLOSURE)

    def abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()

    def is_closing(self) -> bool:
        return self._socket is None or self._socket.is_closing()

    def set_write_buffer_limits(self, high: int) -> None:
        if self._socket is not None:
            self._socket.set_write_buffer_limits(high=high)

    def pause_reading(self) -> None:
        if self._socket is not None:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        if self._socket is not None:
            self._socket.resume_reading()

    def _on_event(self, event: Event) -> None:
        match event:
            case BytesMessage(data=data) if data:
                self._inner.data_received(bytes(data))
            case TextMessage():
                self._end(CloseReason.UNSUPPORTED_DATA)
            case CloseConnection():
                self._end(CloseReason.NORMAL_CLOSURE)
            case Ping() | BytesMessage():
                self._trifle(event)

    def _trifle(self, event: Event) -> None:
        """Pings and empty messages move nothing, so they are rationed like HTTP/2's pings."""
        rate, now = self._limits.pings, self._clock()
        if now - self._since >= rate.seconds:
            self._since, self._pings = now, 0
        self._pings += 1
        if self._pings > rate.count:
            self._end(CloseReason.POLICY_VIOLATION)
        elif isinstance(event, Ping) and self._socket is not None and not self._socket.is_closing():
            self._socket.write(self._ws.send(event.response()))

    def _end(self, reason: CloseReason) -> None:
        if self._socket is None or self._socket.is_closing():
            return
        with contextlib.suppress(WebSocketError):  # it was closed by a message already
            self._socket.write(self._ws.send(CloseConnection(code=reason)))
        self._socket.close()


def _accept(ws: WSConnection, headers: dict[str, str], subprotocol: str) -> bytes:
    """The 101, without extensions: compressing what is encrypted is wasted work."""
    try:
        ws.initiate_upgrade_connection([(k.encode(), v.encode()) for k, v in headers.items()], "/")
        events = list(ws.events())
        if not events or not isinstance(events[0], Request):
            raise Invalid("not a WebSocket handshake")
        return ws.send(AcceptConnection(subprotocol=subprotocol))
    except (RemoteProtocolError, h11.ProtocolError) as error:
        raise Invalid("not a WebSocket handshake") from error
