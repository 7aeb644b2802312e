"""Before HTTP/2 the server may say one thing: magic, BE length, JSON (`control/ts2021/conn.go`).

The client tells it from HTTP/2 by the first nine bytes, which is the size of a frame header too.
"""

import msgspec

from headscale_saas.errors import ProtocolError
from headscale_saas.tailcfg.keys import ChallengeKey

MAGIC = b"\xff\xff\xffTS"
HEADER_BYTES = 9
MAX_BYTES = 64 << 10
"""Ours; Go's client takes up to 10 MiB."""


class _EarlyNoise(msgspec.Struct):
    """`tailcfg.go:EarlyNoise`; an absent challenge means the server offers none."""

    nodeKeyChallenge: str = ""  # noqa: N815 (the wire's spelling)


def early_payload(challenge: ChallengeKey) -> bytes:
    """The bytes that go before the server's SETTINGS."""
    body = msgspec.json.encode(_EarlyNoise(str(challenge)))
    return MAGIC + len(body).to_bytes(4, "big") + body


class EarlyReader:
    """The client's side: `feed` gives back what belongs to HTTP/2; `challenge` is what was offered."""

    __slots__ = ("_buffer", "_done", "challenge")

    def __init__(self) -> None:
        self._buffer = b""
        self._done = False
        self.challenge: ChallengeKey | None = None

    def feed(self, data: bytes) -> bytes:
        """Raises ProtocolError for a payload that is too long or not the expected JSON."""
        if self._done:
            return data
        self._buffer += data
        if len(self._buffer) < HEADER_BYTES:
            return b""
        end = HEADER_BYTES + self._length() if self._buffer.startswith(MAGIC) else 0
        if len(self._buffer) < end:
            return b""
        payload, rest = self._buffer[HEADER_BYTES:end], self._buffer[end:]
        self.challenge = _challenge(payload) if end else None
        self._buffer, self._done = b"", True
        return rest

    def _length(self) -> int:
        length = int.from_bytes(self._buffer[5:HEADER_BYTES], "big")
        if length > MAX_BYTES:
            raise ProtocolError("early payload too long")
        return length


def _challenge(payload: bytes) -> ChallengeKey | None:
    try:
        text = msgspec.json.decode(payload, type=_EarlyNoise).nodeKeyChallenge
        return ChallengeKey.parse(text) if text else None
    except ValueError as error:
        raise ProtocolError("early payload cannot be read") from error
