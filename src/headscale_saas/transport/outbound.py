"""Frames out: answers, the hot path, and the queues that wait for windows or for the socket.

Nothing is sealed before the socket can take it: while the connection is congested, DATA stays in its stream's
queue. Queues drain in slices through the fair queue, stream by stream.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError as H2Error
from hyperframe.frame import GoAwayFrame

from headscale_saas.errors import LimitReached
from headscale_saas.tailcfg.keys import MachineKey
from headscale_saas.transport.frames import FrameMeter
from headscale_saas.transport.streams import Stream, Surroundings
from headscale_saas.transport.windows import HotWindows

_FRAMES_PER_STEP = 4


class Wire(Protocol):
    """The connection underneath. `congested`: it should be given no DATA now."""

    congested: bool
    closing: bool

    def send(self, plaintext: bytes) -> None: ...
    def close(self) -> None: ...
    def expect(self, deadline: float) -> None: ...


class Outbound:
    """The sending half of one HTTP/2 connection. `on_closed` hears of every stream that is over."""

    __slots__ = (
        "_around",
        "_backlog",
        "_draining",
        "_h2",
        "_machine",
        "_meter",
        "_on_closed",
        "_wire",
        "windows",
    )

    def __init__(
        self,
        h2: H2Connection,
        wire: Wire,
        meter: FrameMeter,
        around: Surroundings,
        machine: MachineKey,
        on_closed: Callable[[Stream], None],
    ) -> None:
        self._h2 = h2
        self._wire = wire
        self._meter = meter
        self._around = around
        self._machine = machine
        self._on_closed = on_closed
        self.windows = HotWindows(h2)
        self._backlog: dict[int, Stream] = {}
        self._draining = False

    def flush(self) -> None:
        """Sends what h2 has to say; resets are counted first, since the peer may have provoked them."""
        output = self._h2.data_to_send()
        if not output:
            return
        try:
            self._meter.answered(output, self._around.loop.time())
        except LimitReached as error:
            self.terminate(ErrorCodes.ENHANCE_YOUR_CALM, error.message)
        else:
            self._wire.send(output)

    def terminate(self, code: ErrorCodes, words: str = "") -> None:
        self.goaway(code, words)
        self._wire.close()

    def goaway(self, code: ErrorCodes, words: str = "") -> None:
        """Written by hand, because h2 would refuse to finish the answers that are under way."""
        frame = GoAwayFrame(0, self._h2.highest_inbound_stream_id, code, words.encode())
        self._wire.send(frame.serialize())

    def send_headers(self, stream: Stream, status: int, headers: Mapping[str, str], end: bool) -> None:
        try:
            fields = [(":status", str(status)), *headers.items()]
            self._h2.send_headers(stream.id, fields, end_stream=end)
        except H2Error:
            self._over(stream)
            return
        self.flush()
        if end:
            self._ended(stream)

    def send_now(self, stream: Stream, data: bytes) -> bool:
        """The hot path: one small message, as one DATA frame, straight to the socket."""
        wire = self._wire
        if wire.congested:
            return False
        frame = self.windows.data(stream.h2, data)
        if frame is None:
            return False
        wire.send(frame)
        return True

    def enqueue(self, stream: Stream, data: bytes) -> bool:
        """False if it does not fit. The first is taken whatever its size, and a bound's worth behind it."""
        if stream.queue is None:
            stream.queue, stream.room = deque(), len(data) + self._around.limits.stream_queue_bytes
            self._moved(stream)
            self._backlog[stream.id] = stream
        if stream.queued + len(data) > stream.room:
            return False
        stream.queue.append(memoryview(data))
        stream.queued += len(data)
        self.drain_soon()
        return True

    def finish(self, stream: Stream) -> None:
        """An empty DATA frame with END_STREAM, which needs no window."""
        try:
            self._h2.end_stream(stream.id)
        except H2Error:
            self._over(stream)
            return
        self.flush()
        self._ended(stream)

    def abandon(self, stream: Stream, code: ErrorCodes) -> None:
        try:
            self._h2.reset_stream(stream.id, code)
        except H2Error:
            pass  # it is closed already
        else:
            self.flush()
        self._over(stream)

    def drain_soon(self) -> None:
        """Called when there is new data, window, or room in the socket."""
        if self._backlog and not self._draining and not self._wire.congested:
            self._draining = True
            self._around.work.submit(self._around.lane_of(self._machine), self._drain())

    def forget(self, stream: Stream) -> None:
        """The stream is over; what it had queued goes with it."""
        self._backlog.pop(stream.id, None)

    def let_go(self) -> None:
        """The connection is gone: nobody is told any more."""
        self._on_closed = _nobody

    def _drain(self) -> Iterator[None]:
        """Some frames of one stream at each step, until nothing can move."""
        moved = True
        while moved and not self._wire.closing:
            moved = False
            for stream in list(self._backlog.values()):
                if not self._wire.congested and self._drain_some(stream):
                    moved = True
                    yield
        self._draining = False

    def _drain_some(self, stream: Stream) -> bool:
        frames: list[bytes] = []
        while stream.queue and len(frames) < _FRAMES_PER_STEP and (frame := self._next_frame(stream)):
            frames.append(frame)
        if frames:
            self._moved(stream)
            self._wire.send(b"".join(frames))
        if not stream.queue and stream.id in self._backlog:
            self._drained(stream)
        return bool(frames)

    def _next_frame(self, stream: Stream) -> bytes | None:
        queue, room = stream.queue, self.windows.room(stream.h2)
        if not queue or not room:
            return None
        head = queue[0]
        frame = self.windows.data(stream.h2, head[:room])
        if frame is not None:
            stream.queued -= min(room, len(head))
            if room < len(head):
                queue[0] = head[room:]
            else:
                queue.popleft()
        return frame

    def _drained(self, stream: Stream) -> None:
        del self._backlog[stream.id]
        stream.queue = None
        if stream.ending:
            self.finish(stream)
        else:
            stream.drained()

    def _moved(self, stream: Stream) -> None:
        stream.moved_at = self._around.loop.time()
        self._wire.expect(stream.moved_at + self._around.limits.stall_seconds)

    def _ended(self, stream: Stream) -> None:
        """Our side is done. If the client is still sending its body, it is told to stop (RFC 9113, 8.1)."""
        if stream.h2.closed:
            self._over(stream)
        else:
            self.abandon(stream, ErrorCodes.NO_ERROR)

    def _over(self, stream: Stream) -> None:
        self.forget(stream)
        self._on_closed(stream)
        stream.over()


def _nobody(stream: Stream) -> None:
    """Who hears of closed streams when the connection is gone."""
