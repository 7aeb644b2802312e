"""The client half of HTTP/2 (RFC 9113), sans-IO, with the habits of Go's `net/http`.

Written apart from the library that the server uses, so that the two check each other. It is strict: what
Go's client would refuse raises ProtocolError, and so does a server that sends past a window.
"""

from collections.abc import Callable
from typing import Protocol

import hpack

from headscale_saas.errors import Error, ProtocolError, Unavailable
from headscale_saas.swarm import frames

Headers = list[tuple[str, str]]


class Sink(Protocol):
    """Who asked. `on_headers` once (trailers are dropped), any `on_data`, then one of the last two."""

    def on_headers(self, status: int, headers: Headers) -> None: ...
    def on_data(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_lost(self, error: Error) -> None:
        """The stream was reset or refused, or the connection broke."""


class _Stream:
    __slots__ = ("answered", "credit", "pending", "send_window", "sink", "window")

    def __init__(self, sink: Sink, body: bytes, send_window: int) -> None:
        self.sink = sink
        self.pending = body
        self.send_window = send_window
        self.window = frames.STREAM_WINDOW
        self.credit = 0
        self.answered = False


class Http2Client:
    """One connection. Feed it what arrives; what is to be sent piles up in `outgoing`."""

    __slots__ = (
        "_block",
        "_buffer",
        "_credit",
        "_decoder",
        "_encoder",
        "_greeted",
        "_initial_window",
        "_next_id",
        "_send_window",
        "_streams",
        "_touched",
        "_window",
        "draining",
        "outgoing",
    )

    def __init__(self) -> None:
        self.outgoing = bytearray(frames.opening())
        self.draining = False
        """The server said GOAWAY: new requests belong on a new connection."""
        self._decoder, self._encoder = hpack.Decoder(), hpack.Encoder()
        self._buffer = b""
        self._greeted = False
        self._next_id = 1
        self._streams: dict[int, _Stream] = {}
        self._touched: list[int] = []
        self._initial_window = self._send_window = frames.DEFAULT_WINDOW
        self._window, self._credit = frames.CONNECTION_WINDOW, 0
        self._block: tuple[int, int, bytes] | None = None

    def request(self, headers: Headers, body: bytes, sink: Sink) -> int:
        """Starts a request and returns its stream id. Go names the methods' length, so must `headers`."""
        stream_id, self._next_id = self._next_id, self._next_id + 2
        block = self._encoder.encode(headers, huffman=True)
        flags = frames.END_HEADERS | (0 if body else frames.END_STREAM)
        self.outgoing += frames.frame(frames.HEADERS, flags, stream_id, block)
        self._streams[stream_id] = stream = _Stream(sink, body, self._initial_window)
        self._send_body(stream_id, stream)
        return stream_id

    def cancel(self, stream_id: int) -> None:
        """As Go cancels a request: RST_STREAM and a PING beside it."""
        if self._streams.pop(stream_id, None):
            self.outgoing += frames.frame(frames.RST_STREAM, 0, stream_id, frames.CANCEL.to_bytes(4, "big"))
            self.outgoing += frames.frame(frames.PING, 0, 0, b"cancel!!")

    def feed(self, data: bytes) -> None:
        """Raises ProtocolError; the connection is then of no more use."""
        buffer = self._buffer + data if self._buffer else data
        start, size = 0, len(buffer)
        while size - start >= frames.FRAME_HEADER:
            head = int.from_bytes(buffer[start : start + frames.FRAME_HEADER], "big")
            length = head >> 48
            if length > frames.MAX_FRAME:
                raise ProtocolError("HTTP/2 frame too long")
            end = start + frames.FRAME_HEADER + length
            if end > size:
                break
            payload = buffer[start + frames.FRAME_HEADER : end]
            self._take(head >> 40 & 0xFF, head >> 32 & 0xFF, head & 0x7FFF_FFFF, payload)
            start = end
        self._buffer = buffer[start:]
        self._give_credit()

    def lose(self, error: Error) -> None:
        """The connection is gone: tells every sink."""
        streams, self._streams, self.draining = self._streams, {}, True
        for stream in streams.values():
            stream.sink.on_lost(error)

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._greeted and (kind != frames.SETTINGS or flags & frames.ACK):
            raise ProtocolError("the server's first frame is not SETTINGS")
        if self._block and kind != frames.CONTINUATION:
            raise ProtocolError("a header block was interrupted")
        if handler := _HANDLERS.get(kind):
            handler(self, flags, stream_id, payload)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._window -= size
        self._credit += size
        stream = self._known(stream_id)
        if stream:
            stream.window -= size
            stream.credit += size
            self._touched.append(stream_id)
        if self._window < 0 or (stream and stream.window < 0):
            raise ProtocolError("the server sent past a flow-control window")
        if stream:
            self._hand_over(stream, flags, stream_id, payload)

    def _hand_over(self, stream: _Stream, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream.answered:
            raise ProtocolError("DATA before the response's headers")
        content = frames.without_padding(flags & frames.PADDED, payload) if flags & frames.PADDED else payload
        if content:
            stream.sink.on_data(content)
        if flags & frames.END_STREAM:
            self._end(stream_id)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._headers_part(flags, stream_id, flags, frames.without_padding(flags, payload))

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._block or self._block[0] != stream_id:
            raise ProtocolError("CONTINUATION of nothing")
        _, first_flags, block = self._block
        self._headers_part(flags, stream_id, first_flags, block + payload)

    def _headers_part(self, flags: int, stream_id: int, first_flags: int, block: bytes) -> None:
        if len(block) > frames.MAX_FRAME:
            raise ProtocolError("header block too long")
        self._block = None if flags & frames.END_HEADERS else (stream_id, first_flags, block)
        if self._block is None:
            self._headers(stream_id, block, bool(first_flags & frames.END_STREAM))

    def _headers(self, stream_id: int, block: bytes, ends: bool) -> None:
        try:
            headers = [(str(name), str(value)) for name, value in self._decoder.decode(block)]
        except hpack.HPACKError as error:
            raise ProtocolError("header block cannot be read") from error
        stream = self._known(stream_id)
        if stream and not stream.answered:
            status = _status(headers)
            stream.answered = status >= 200
            if stream.answered:
                stream.sink.on_headers(status, headers)
        elif stream and not ends:
            raise ProtocolError("trailers that do not end the stream")
        if stream and ends:
            self._end(stream_id)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._greeted = True
        if flags & frames.ACK:
            return
        for name, value in frames.settings_of(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._resize_windows(value)
            elif name == frames.HEADER_TABLE_SIZE:
                self._encoder.header_table_size = min(value, 4096)
        self.outgoing += frames.frame(frames.SETTINGS, frames.ACK, 0, b"")

    def _resize_windows(self, size: int) -> None:
        growth, self._initial_window = size - self._initial_window, size
        for stream_id, stream in self._streams.items():
            stream.send_window += growth
            self._send_body(stream_id, stream)

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ProtocolError("PING of a wrong size")
        if not flags & frames.ACK:
            self.outgoing += frames.frame(frames.PING, frames.ACK, 0, payload)

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.draining = True
        last = int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF
        for refused in [known for known in self._streams if known > last]:
            self._streams.pop(refused).sink.on_lost(Unavailable("refused by GOAWAY"))

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream := self._known(stream_id):
            del self._streams[stream_id]
            stream.sink.on_lost(Unavailable(f"reset with code {int.from_bytes(payload)}"))

    def _on_window(self, flags: int, stream_id: int, payload: bytes) -> None:
        credit = int.from_bytes(payload, "big") & 0x7FFF_FFFF
        if not stream_id:
            self._send_window += credit
        elif stream := self._streams.get(stream_id):
            stream.send_window += credit
        for waiting_id, waiting in self._streams.items():
            self._send_body(waiting_id, waiting)

    def _on_push(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ProtocolError("PUSH_PROMISE, though push is off")

    def _known(self, stream_id: int) -> _Stream | None:
        """None for a stream that is over; raises for one that never was."""
        if not stream_id & 1 or stream_id >= self._next_id:
            raise ProtocolError("a frame of a stream that was never opened")
        return self._streams.get(stream_id)

    def _end(self, stream_id: int) -> None:
        self._streams.pop(stream_id).sink.on_end()

    def _send_body(self, stream_id: int, stream: _Stream) -> None:
        while stream.pending and (room := min(stream.send_window, self._send_window, frames.MAX_FRAME)) > 0:
            part, stream.pending = stream.pending[:room], stream.pending[room:]
            stream.send_window -= len(part)
            self._send_window -= len(part)
            flags = 0 if stream.pending else frames.END_STREAM
            self.outgoing += frames.frame(frames.DATA, flags, stream_id, part)

    def _give_credit(self) -> None:
        for stream_id in self._touched:
            stream = self._streams.get(stream_id)
            if stream and stream.credit >= frames.REFRESH_AT:
                self.outgoing += frames.window_update(stream_id, stream.credit)
                stream.window, stream.credit = stream.window + stream.credit, 0
        self._touched.clear()
        if self._credit >= frames.REFRESH_AT:
            self.outgoing += frames.window_update(0, self._credit)
            self._window, self._credit = self._window + self._credit, 0


def _status(headers: Headers) -> int:
    name, value = headers[0] if headers else ("", "")
    if name != ":status" or len(value) != 3 or not value.isdecimal():
        raise ProtocolError("a response without a status")
    return int(value)


_HANDLERS: dict[int, Callable[[Http2Client, int, int, bytes], None]] = {
    frames.DATA: Http2Client._on_data,
    frames.HEADERS: Http2Client._on_headers,
    frames.RST_STREAM: Http2Client._on_reset,
    frames.SETTINGS: Http2Client._on_settings,
    frames.PUSH_PROMISE: Http2Client._on_push,
    frames.PING: Http2Client._on_ping,
    frames.GOAWAY: Http2Client._on_goaway,
    frames.WINDOW_UPDATE: Http2Client._on_window,
    frames.CONTINUATION: Http2Client._on_continuation,
}
