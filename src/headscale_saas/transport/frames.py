"""HTTP/2 frames, cut and counted before `h2` sees them: the library caps memory, not the peer's appetite.

`FrameCutter` makes whole frames of bytes in any chunking and refuses an oversized one by its header.
`FrameMeter` holds a peer to its rates; past one of them it raises LimitReached.
"""

from collections.abc import Iterator
from typing import NamedTuple

from headscale_saas.errors import LimitReached, ProtocolError
from headscale_saas.transport.limits import Limits, Rate

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
MAX_FRAME = 16384

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4

_SMALL_DATA = 128
_BYTES_PER_UPDATE = 1024


class Frame(NamedTuple):
    """`raw` is the frame with its header; the preface counts as one, of kind -1."""

    kind: int
    flags: int
    raw: bytes


class FrameCutter:
    """Holds less than one frame between calls."""

    __slots__ = ("_buffer", "_preface")

    def __init__(self) -> None:
        self._buffer = b""
        self._preface = True

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now; iterate to the end. Raises ProtocolError at a bad byte."""
        buffer, start = self._buffer + data if self._buffer else data, 0
        self._buffer = b""
        if self._preface:
            if not PREFACE.startswith(buffer[: len(PREFACE)]):
                raise ProtocolError("not an HTTP/2 preface")
            if len(buffer) < len(PREFACE):
                self._buffer = buffer
                return
            self._preface, start = False, len(PREFACE)
            yield Frame(-1, 0, PREFACE)
        while len(buffer) - start >= HEADER_BYTES:
            size = int.from_bytes(buffer[start : start + 3], "big")
            if size > MAX_FRAME:
                raise ProtocolError("frame too long", code="frame_size")
            end = start + HEADER_BYTES + size
            if end > len(buffer):
                break
            frame = Frame(buffer[start + 3], buffer[start + 4], buffer[start:end])
            start = end
            yield frame
        self._buffer = buffer[start:]


class FrameMeter:
    """What one peer has spent. WINDOW_UPDATE is earned by the DATA bytes it was sent."""

    __slots__ = ("_block", "_limits", "_spent", "_updates")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._spent: dict[str, tuple[float, int]] | None = None
        self._updates = 0
        self._block = 0

    def received(self, frame: Frame, sent: int, now: float) -> None:
        """Counts a frame of the peer. `sent` is the number of DATA bytes it was sent so far."""
        kind, limits = frame.kind, self._limits
        if kind == RST_STREAM:
            self._spend("resets", limits.resets, now)
        elif kind == SETTINGS:
            self._spend("settings", limits.settings, now)
        elif kind == PING:
            self._spend("pings", limits.pings, now)
        elif kind in (HEADERS, CONTINUATION):
            self._header_block(frame)
        elif self._is_trifle(frame, sent):
            self._spend("trifles", limits.trifles, now)

    def answered(self, output: bytes, now: float) -> None:
        """Counts the resets among the frames that h2 sends by itself."""
        start = 0
        while start < len(output):
            if output[start + 3] == RST_STREAM:
                self._spend("resets", self._limits.resets, now)
            start += HEADER_BYTES + int.from_bytes(output[start : start + 3], "big")

    def _is_trifle(self, frame: Frame, sent: int) -> bool:
        if frame.kind == DATA:
            return len(frame.raw) < HEADER_BYTES + _SMALL_DATA and not frame.flags & END_STREAM
        if frame.kind == WINDOW_UPDATE:
            self._updates += 1
            return self._updates * _BYTES_PER_UPDATE > sent
        return frame.kind >= 0

    def _header_block(self, frame: Frame) -> None:
        self._block = len(frame.raw) + (self._block if frame.kind == CONTINUATION else 0)
        if self._block > self._limits.header_bytes:
            raise LimitReached("header block too long")

    def _spend(self, name: str, rate: Rate, now: float) -> None:
        spent = self._spent = self._spent or {}
        since, count = spent.get(name, (now, 0))
        if now - since >= rate.seconds:
            since, count = now, 0
        spent[name] = since, count + 1
        if count >= rate.count:
            raise LimitReached(f"too many {name}")
