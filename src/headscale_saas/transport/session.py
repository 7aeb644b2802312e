"""HTTP/2 inside Noise, the server's side of one connection: plaintext in, requests to the handler.

`h2` keeps the protocol's state; our own budgets stand before it (`frames`), and answers leave by `outbound`.
"""

import logging
from collections.abc import Iterator
from functools import partial

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError as H2Error

from headscale_saas.errors import Invalid, LimitReached, ProtocolError
from headscale_saas.transport.addresses import source
from headscale_saas.transport.frames import FrameCutter, FrameMeter
from headscale_saas.transport.http2 import ServerH2
from headscale_saas.transport.outbound import Outbound, Wire
from headscale_saas.transport.requests import Head, read_head
from headscale_saas.transport.streams import Connection, Request, Stream, Surroundings
from headscale_saas.transport.sweep import NEVER

_log = logging.getLogger(__name__)


class Http2Session:
    """The receiving half, and the streams by number."""

    __slots__ = (
        "_around",
        "_bodies",
        "_cutter",
        "_h2",
        "_meter",
        "_origin",
        "_quiet_until",
        "_retiring",
        "_streams",
        "_wire",
        "connection",
        "out",
    )

    def __init__(self, wire: Wire, connection: Connection, around: Surroundings) -> None:
        self._wire = wire
        self._around = around
        self.connection = connection
        self._h2 = ServerH2(around.limits)
        self._cutter = FrameCutter()
        self._meter = FrameMeter(around.limits)
        self.out = Outbound(self._h2, wire, self._meter, around, connection.machine, self._closed)
        self._streams: dict[int, Stream] = {}
        self._bodies = 0
        self._origin = source(connection.peer)
        self._retiring = False
        self._quiet_until = NEVER
        self._quiet(around.limits.first_request_seconds)

    def greeting(self) -> bytes:
        """Our SETTINGS, which the client waits for."""
        self._h2.initiate_connection()
        return self._h2.data_to_send()

    def receive(self, plaintext: bytes) -> Iterator[None]:
        """One step per frame. Closes the connection at the first that breaks a rule or a budget."""
        try:
            for frame in self._cutter.feed(plaintext):
                self._meter.received(frame, self.out.windows.sent, self._around.loop.time())
                for event in self._h2.receive_data(frame.raw):
                    self._on_event(event)
                self.out.flush()
                yield
                if self._wire.closing:
                    return
        except LimitReached as error:
            self.out.terminate(ErrorCodes.ENHANCE_YOUR_CALM, error.message)
        except ProtocolError as error:
            self.out.terminate(ErrorCodes.PROTOCOL_ERROR, error.message)
        except H2Error:  # h2 has written the GOAWAY itself
            self.out.flush()
            self._wire.close()

    def retire(self) -> None:
        """Takes no new request, ends what is streaming, closes when the last answer is given."""
        self._retiring = True
        self.out.goaway(ErrorCodes.NO_ERROR)
        for stream in list(self._streams.values()):
            stream.end()
        self._close_if_retired()

    def lost(self) -> None:
        """The connection is gone."""
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self._let_body_go(stream)
            self.out.forget(stream)
            stream.over()
        self.out.let_go()
        self._h2.let_go()

    def check(self, now: float) -> float:
        """Gives up what has taken too long; returns when to look again."""
        if now >= self._quiet_until:
            self.out.terminate(ErrorCodes.NO_ERROR)
            return NEVER
        for stream in list(self._streams.values()):
            if self._deadline(stream) <= now:
                self.out.abandon(stream, ErrorCodes.CANCEL)
        return min(map(self._deadline, self._streams.values()), default=self._quiet_until)

    def _deadline(self, stream: Stream) -> float:
        if stream.queued:
            return stream.moved_at + self._around.limits.stall_seconds
        if stream.body is not None:
            return stream.moved_at + self._around.limits.body_seconds
        return NEVER

    def _quiet(self, seconds: float) -> None:
        self._quiet_until = self._around.loop.time() + seconds
        self._wire.expect(self._quiet_until)

    # Events, in the order of a stream's life

    def _on_event(self, event: Event) -> None:
        match event:
            case DataReceived():
                self._on_data(event)
            case WindowUpdated() | RemoteSettingsChanged():
                self.out.drain_soon()
            case RequestReceived():
                self._on_request(event)
            case StreamEnded():
                self._on_whole(event.stream_id or 0)
            case StreamReset():
                self._on_reset(event.stream_id or 0)
            case ConnectionTerminated():
                self._wire.close()

    def _on_request(self, event: RequestReceived) -> None:
        stream = Stream(self.out, self._h2.streams[event.stream_id or 0])
        self._streams[stream.id] = stream
        self._quiet_until = NEVER
        if self._retiring:
            self.out.abandon(stream, ErrorCodes.REFUSED_STREAM)
            return
        try:
            head = read_head(event.headers or [])
        except Invalid as error:
            stream.respond(400, error.message.encode(), "text/plain")
            return
        if (refusal := self._refusal(head)) is not None:
            stream.respond(refusal)
            return
        self._expect_body(stream, head)

    def _refusal(self, head: Head) -> int | None:
        """What is answered before a byte of the body is read."""
        if head.encoded:
            return 415
        if head.content_length is not None and head.content_length > self._around.limits.body_bytes:
            return 413
        return None

    def _expect_body(self, stream: Stream, head: Head) -> None:
        stream.body = bytearray()
        stream.request = Request(self.connection, *head[:4], body=b"", stream=stream)
        stream.moved_at = self._around.loop.time()
        self._wire.expect(stream.moved_at + self._around.limits.body_seconds)

    def _on_data(self, event: DataReceived) -> None:
        stream_id, data = event.stream_id or 0, event.data or b""
        if event.flow_controlled_length:
            self._h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
        stream = self._streams.get(stream_id)
        if stream is None or stream.body is None or not data:
            return
        if not self._around.bodies.take(self._origin, len(data)):
            self._drop_body(stream)
            stream.respond(503)
            return
        stream.body += data
        stream.body_bytes += len(data)
        self._bodies += len(data)
        if stream.body_bytes > self._around.limits.body_bytes:
            self._drop_body(stream)
            stream.respond(413)
        elif self._bodies > self._around.limits.bodies_bytes:
            raise LimitReached("too many unfinished requests")

    def _on_whole(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.body is None or stream.request is None:
            return
        stream.request, stream.body = stream.request.with_body(bytes(stream.body)), None
        lane = self._around.lane_of(self.connection.machine)
        self._around.starts.submit(lane, partial(self._start, stream))

    def _start(self, stream: Stream) -> None:
        request, stream.request = stream.request, None
        if request is not None and not stream.closed:
            stream.task = self._around.loop.create_task(self._serve(request, stream))
            # Not at the end of `_serve`, which a task that is cancelled at once never reaches.
            stream.task.add_done_callback(lambda _: self._drop_body(stream))

    async def _serve(self, request: Request, stream: Stream) -> None:
        try:
            await self._around.handler(request)
        except Exception:
            _log.exception("a request was not answered: %s %s", request.method, request.path)
        finally:
            stream.task = None
            if not stream.answered:
                stream.respond(500)

    def _on_reset(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.out.forget(stream)
            self._closed(stream)
            stream.over()

    # The end of a stream

    def _closed(self, stream: Stream) -> None:
        """The stream will not be heard of again; h2 too lets go of it."""
        self._let_body_go(stream)
        if self._streams.pop(stream.id, None) is None:
            return
        _ = self._h2.open_inbound_streams  # a property that forgets closed streams
        if not self._streams:
            self._quiet(self._patience())
            self._close_if_retired()

    def _patience(self) -> float:
        """Without any stream. Anyone can make handshakes, and each connection takes a file."""
        limits, lane = self._around.limits, self._around.lane_of(self.connection.machine)
        return limits.stranger_idle_seconds if lane is None else limits.idle_seconds

    def _let_body_go(self, stream: Stream) -> None:
        """Unless a handler has it, which may be at work for longer than its stream is open."""
        if stream.task is None:
            self._drop_body(stream)

    def _drop_body(self, stream: Stream) -> None:
        self._around.bodies.give(self._origin, stream.body_bytes)
        self._bodies -= stream.body_bytes
        stream.body, stream.body_bytes = None, 0

    def _close_if_retired(self) -> None:
        if self._retiring and not self._streams:
            self._wire.close()
