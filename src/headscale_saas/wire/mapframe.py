"""Messages in the body of a map poll: *little*-endian uint32 length, payload (`direct.go:sendMapRequest`).

The payload is JSON, or zstd of it if the request said so. Each message stands alone (no shared window, no
dictionary), and may be several zstd frames one after the other, so that parts can be compressed once.
"""

import threading
from collections.abc import Iterator
from typing import Final

import zstandard

from headscale_saas.errors import ProtocolError

HEADER_BYTES = 4
_SLICE = 4096
MAX_MESSAGE = 4 << 20
"""What the stricter of the two Go clients takes, compressed or not (`control/tsp/map.go`)."""

KEEP_ALIVE_JSON: Final = b'{"KeepAlive": true}'
"""With the space: clients since 1.90 remember the bytes of a frame without it, and then may drop others."""


class _Codecs(threading.local):
    """Contexts are costly to make and must not be used by two threads at once."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1, write_checksum=False, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor()


_codecs = _Codecs()


def compress(payload: bytes) -> bytes:
    """One complete zstd frame, level 1; concatenating several is a legal message."""
    return _codecs.compressor.compress(payload)


def decompress(message: bytes, limit: int = MAX_MESSAGE) -> bytes:
    """All frames of a message. Raises ProtocolError for damage, a cut end, or more than `limit` bytes."""
    try:
        return b"".join(_decompressed(message, limit))
    except zstandard.ZstdError as error:
        raise ProtocolError("map message cannot be decompressed") from error


def _decompressed(message: bytes, limit: int) -> Iterator[bytes]:
    """In slices, so that a small message which grows without bound is found out early."""
    stream = None
    for start in range(0, len(message), _SLICE):
        rest = message[start : start + _SLICE]
        while rest:
            stream = stream or _codecs.decompressor.decompressobj()
            part = stream.decompress(rest)
            limit -= len(part)
            if limit < 0:
                raise ProtocolError("map message too long")
            yield part
            rest, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
    if stream is not None:
        raise ProtocolError("map message is cut short")


def frame(payload: bytes) -> bytes:
    """One message, ready to be written to the stream."""
    return len(payload).to_bytes(HEADER_BYTES, "little") + payload


KEEP_ALIVE: Final = frame(KEEP_ALIVE_JSON)
KEEP_ALIVE_ZSTD: Final = frame(compress(KEEP_ALIVE_JSON))


class FrameReader:
    """The client's side: bytes of the body in any chunking, payloads out (not decompressed)."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._buffer = bytearray()
        self._limit = limit

    @property
    def pending(self) -> int:
        """Bytes of a message that is not complete; nonzero at the end of a body means it was cut."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that are complete now; iterate to the end.

        Raises ProtocolError for a message longer than the limit, or empty.
        """
        buffer = self._buffer
        buffer += data
        while len(buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(buffer[:HEADER_BYTES], "little")
            if not HEADER_BYTES < end <= HEADER_BYTES + self._limit:
                raise ProtocolError("map message length out of bounds")
            if len(buffer) < end:
                return
            payload = bytes(buffer[HEADER_BYTES:end])
            del buffer[:end]
            yield payload
