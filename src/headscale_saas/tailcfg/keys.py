"""Keys as the client spells them: a prefix and 64 hex digits around 32 bytes (`types/key/*.go`).

Each kind is a type of its own, so a node key cannot stand where a machine key is meant. Equality and
hashing are those of `bytes`; `str(key)` is the wire form; `parse` accepts hex of either case and
nothing else. The all-zero key is a legal wire value that means "none".
"""

from typing import ClassVar, Self

KEY_BYTES = 32


class Key(bytes):
    """32 bytes with a wire prefix. Made from raw bytes, or from text by `parse`."""

    prefix: ClassVar[str] = ""

    def __new__(cls, raw: bytes) -> Self:
        if len(raw) != KEY_BYTES:
            raise ValueError(f"{cls.__name__} takes {KEY_BYTES} bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the wire form. Raises ValueError for a wrong prefix, length or digit."""
        digits = text.removeprefix(cls.prefix)
        if len(digits) != 2 * KEY_BYTES or len(text) != len(cls.prefix) + 2 * KEY_BYTES:
            raise ValueError(f"not a {cls.__name__}")
        if not digits.isascii() or not digits.isalnum():  # fromhex() would skip white space
            raise ValueError(f"not a {cls.__name__}")
        return cls(bytes.fromhex(digits))

    @classmethod
    def zero(cls) -> Self:
        return cls(bytes(KEY_BYTES))

    @property
    def is_zero(self) -> bool:
        return not any(self)

    def __str__(self) -> str:
        return self.prefix + self.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()[:8]}…)"


class MachineKey(Key):
    """The static Noise key of a device: who is on the other end of a connection."""

    prefix = "mkey:"


class NodeKey(Key):
    """The WireGuard key of a node; rotates at each login."""

    prefix = "nodekey:"


class DiscoKey(Key):
    """The key of the path-discovery protocol; changes at every start of the client."""

    prefix = "discokey:"


class TailnetLockKey(Key):
    """The Ed25519 key a node signs with under tailnet lock."""

    prefix = "nlpub:"


class ChallengeKey(Key):
    """Fresh for each connection, offered in the early payload."""

    prefix = "chalpub:"


class PrivateKey(Key):
    """A private X25519 key as headscale's key files spell it. Never printed by accident."""

    prefix = "privkey:"

    def __str__(self) -> str:
        return "privkey:<hidden>"

    def __repr__(self) -> str:
        return "PrivateKey(<hidden>)"

    def reveal(self) -> str:
        """The text form, for writing the key file."""
        return self.prefix + self.hex()
