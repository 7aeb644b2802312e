"""Records after the handshake: `04 | length BE uint16 | ciphertext` (`control/controlbase/conn.go`).

The nonce is a counter in *big*-endian, one per direction, from zero. There is no associated data and no
rekeying. Record boundaries carry no meaning; an empty record is legal and says nothing.
"""

from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from headscale_saas.errors import ProtocolError

HEADER_BYTES = 3
TAG_BYTES = 16
MAX_RECORD = 4096
MAX_CIPHERTEXT = MAX_RECORD - HEADER_BYTES
MAX_PLAINTEXT = MAX_CIPHERTEXT - TAG_BYTES
OVERHEAD = HEADER_BYTES + TAG_BYTES

_RECORD = 4
_EXHAUSTED = 2**64 - 1


class Sealer:
    """Plaintext to records. Whatever it returned must be written, in order and whole."""

    __slots__ = ("_cipher", "_counter")

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._counter = 0

    def seal(self, plaintext: bytes) -> bytes:
        """Bytes ready to write, in as few records as it takes; nothing for nothing."""
        if len(plaintext) <= MAX_PLAINTEXT:
            return self._record(plaintext) if plaintext else b""
        view = memoryview(plaintext)
        starts = range(0, len(plaintext), MAX_PLAINTEXT)
        return b"".join([self._record(view[start : start + MAX_PLAINTEXT]) for start in starts])

    def _record(self, plaintext: bytes | memoryview) -> bytes:
        counter = self._counter
        if counter >= _EXHAUSTED:
            raise ProtocolError("the channel's nonces are used up")
        self._counter = counter + 1
        sealed = self._cipher.encrypt(counter.to_bytes(12, "big"), plaintext, None)
        return b"\x04" + len(sealed).to_bytes(2, "big") + sealed


class Opener:
    """Records to plaintext, in any chunking. After its first ProtocolError it opens nothing more."""

    __slots__ = ("_buffer", "_cipher", "_counter")

    def __init__(self, key: bytes) -> None:
        self._cipher: ChaCha20Poly1305 | None = ChaCha20Poly1305(key)
        self._counter = 0
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plaintext of each record that is complete now; iterate to the end.

        Raises ProtocolError at the first bad type, length or tag, after what came before it was yielded.
        Holds less than one record between calls.
        """
        buffer, start = self._buffer + data if self._buffer else data, 0
        self._buffer = b""
        while (end := self._end(buffer, start)) and end <= len(buffer):
            plaintext = self._open(buffer[start + HEADER_BYTES : end])
            start = end
            if plaintext:
                yield plaintext
        self._buffer = bytes(buffer[start:])

    def _end(self, buffer: bytes, start: int) -> int:
        """Where the record at `start` ends; 0 if its header is not all there. Checks what is there."""
        if start < len(buffer) and buffer[start] != _RECORD:
            raise self._broken("unexpected record type")
        if self._cipher is None:
            raise self._broken("the channel is closed")
        if len(buffer) - start < HEADER_BYTES:
            return 0
        length = buffer[start + 1] << 8 | buffer[start + 2]
        if not TAG_BYTES <= length <= MAX_CIPHERTEXT:
            raise self._broken("record length out of bounds")
        return start + HEADER_BYTES + length

    def _open(self, sealed: bytes) -> bytes:
        counter = self._counter
        if self._cipher is None or counter >= _EXHAUSTED:
            raise self._broken("the channel is closed")
        try:
            plaintext = self._cipher.decrypt(counter.to_bytes(12, "big"), sealed, None)
        except InvalidTag as error:
            raise self._broken("record does not authenticate") from error
        self._counter = counter + 1
        return plaintext

    def _broken(self, message: str) -> ProtocolError:
        self._cipher = None
        return ProtocolError(message)
