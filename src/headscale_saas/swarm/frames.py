"""HTTP/2 frames (RFC 9113 section 4 to 6), and the ones Go's client opens with."""

from collections.abc import Iterator

from headscale_saas.errors import ProtocolError

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

CANCEL = 8

FRAME_HEADER = 9
MAX_FRAME = 16384
"""The largest payload either side may send unless told otherwise; we never tell."""

DEFAULT_WINDOW = 65_535
STREAM_WINDOW = 4 << 20
CONNECTION_WINDOW = DEFAULT_WINDOW + (1 << 30)
REFRESH_AT = 4096
"""Received bytes after which Go gives credit back (`inflowMinRefresh`)."""

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    header = len(payload) << 48 | kind << 40 | flags << 32 | stream_id
    return header.to_bytes(FRAME_HEADER, "big") + payload


def window_update(stream_id: int, credit: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, credit.to_bytes(4, "big"))


def opening() -> bytes:
    """Preface, SETTINGS and the connection's window, as Go sends them."""
    settings = ((ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, STREAM_WINDOW), (MAX_HEADER_LIST_SIZE, 10 << 20))
    payload = b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in settings)
    return PREFACE + frame(SETTINGS, 0, 0, payload) + window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)


def settings_of(payload: bytes) -> Iterator[tuple[int, int]]:
    if len(payload) % 6:
        raise ProtocolError("SETTINGS of a wrong size")
    for start in range(0, len(payload), 6):
        name, value = payload[start : start + 2], payload[start + 2 : start + 6]
        yield int.from_bytes(name, "big"), int.from_bytes(value, "big")


def without_padding(flags: int, payload: bytes) -> bytes:
    """The content of a DATA or HEADERS frame."""
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - (payload[0] if payload else 0)
    if flags & WITH_PRIORITY:
        start += 5
    if start > end:
        raise ProtocolError("frame with more padding than payload")
    return payload[start:end]
