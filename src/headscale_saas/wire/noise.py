"""Noise_IK_25519_ChaChaPoly_BLAKE2s as the control protocol uses it (`control/controlbase/handshake.go`).

The client speaks first and knows the server's static key; the server learns the client's from the first
message. Both messages carry no payload. Each AEAD key of the handshake is used once, with a zero nonce.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from headscale_saas.errors import ProtocolError
from headscale_saas.tailcfg.keys import MachineKey, PrivateKey

INITIATION_BYTES = 101
RESPONSE_BYTES = 51
HEADER_BYTES = 3
ERROR_TEXT_LIMIT = 1024

_INITIATION, _RESPONSE, _ERROR = 1, 2, 3
_INITIATION_PAYLOAD = (INITIATION_BYTES - 5).to_bytes(2, "big")
_RESPONSE_HEADER = bytes((_RESPONSE,)) + (RESPONSE_BYTES - HEADER_BYTES).to_bytes(2, "big")
_ZERO_NONCE = bytes(12)
_PROTOCOL = blake2s(b"Noise_IK_25519_ChaChaPoly_BLAKE2s").digest()
_HMAC_BLOCK = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


class BadFraming(ProtocolError):
    """An initiation that is none. `reply` is the error record the client may be told."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_noise_framing")
        self.reply = error_record(message)


@dataclass(frozen=True, slots=True)
class Channel:
    """What a finished handshake yields: a key for each direction, and the hash that names the channel."""

    client_to_server: bytes
    server_to_client: bytes
    handshake_hash: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The responder's view of a finished handshake. `response` is to be sent before any record."""

    machine_key: MachineKey
    protocol_version: int
    response: bytes
    channel: Channel


class ServerKeys:
    """The service's static keys: one is told to clients, the others are accepted until retired."""

    __slots__ = ("_pairs", "serving")

    def __init__(self, serving: PrivateKey, accepted: Iterable[PrivateKey] = ()) -> None:
        self._pairs = tuple(_pair(key) for key in (serving, *accepted))
        self.serving = MachineKey(self._pairs[0][1])
        """The public key that `/key` answers."""

    @property
    def pairs(self) -> tuple[tuple[X25519PrivateKey, bytes], ...]:
        """Private and public halves, the serving key first."""
        return self._pairs


def error_record(text: str) -> bytes:
    """The only thing a server may say instead of the response; the client shows `text`, unauthenticated."""
    raw = text.encode()[:ERROR_TEXT_LIMIT]
    return bytes((_ERROR,)) + len(raw).to_bytes(2, "big") + raw


def accept(initiation: bytes, keys: ServerKeys, ephemeral: PrivateKey) -> Accepted:
    """The responder, all at once."""
    return hear(initiation, keys).accept(ephemeral)


def hear(initiation: bytes, keys: ServerKeys) -> "Introduction":
    """The responder's first quarter: one of its four key agreements tells who claims to call.

    Tries each static key; raises BadFraming, or ProtocolError if none fits.
    """
    version = _initiation_version(initiation)
    for private, public in keys.pairs:
        try:
            return _heard(private, public, initiation, version)
        except InvalidTag:
            continue
        except ValueError as error:  # a low-order point: the shared secret would be zero
            raise ProtocolError("handshake refused: unusable key") from error
    raise ProtocolError("handshake refused: not encrypted to a key of this service")


class Introduction:
    """Who calls, as they say: nothing is proven yet, so it decides only whose turn this is.

    A machine's key is known to its own tailnet only, so nobody can take turns away from another.
    """

    __slots__ = (
        "_initiation", "_private", "_state", "_theirs", "machine_key", "protocol_version", "server_key",
    )  # fmt: skip

    def __init__(
        self,
        machine_key: MachineKey,
        protocol_version: int,
        state: "_Symmetric",
        theirs: X25519PublicKey,
        ours: tuple[X25519PrivateKey, bytes],
        initiation: bytes,
    ) -> None:
        self.machine_key = machine_key
        self.protocol_version = protocol_version
        self.server_key = ours[1]
        """Our public key that they know us by."""
        self._state = state
        self._theirs = theirs
        self._private = ours[0]
        self._initiation = initiation

    def accept(self, ephemeral: PrivateKey) -> Accepted:
        """Checks the proof and answers; once only. Raises ProtocolError."""
        try:
            return self._accept(*_pair(ephemeral))
        except InvalidTag as error:
            raise ProtocolError("handshake refused: the machine key is not theirs") from error
        except ValueError as error:
            raise ProtocolError("handshake refused: unusable key") from error

    def _accept(self, ours: X25519PrivateKey, our_public: bytes) -> Accepted:
        state, machine = self._state, X25519PublicKey.from_public_bytes(self.machine_key)
        state.open(state.derive(self._private.exchange(machine)), self._initiation[85:])
        state.mix(our_public)
        state.derive(ours.exchange(self._theirs))
        tag = state.seal(state.derive(ours.exchange(machine)), b"")
        response = _RESPONSE_HEADER + our_public + tag
        return Accepted(self.machine_key, self.protocol_version, response, state.split())


class Initiator:
    """The client's half: send `initiation`, then `take` from what arrives until it yields a Channel."""

    __slots__ = ("_ephemeral", "_machine", "_state", "initiation")

    def __init__(
        self, machine: PrivateKey, server: MachineKey, ephemeral: PrivateKey, protocol_version: int
    ) -> None:
        self._machine, machine_public = _pair(machine)
        self._ephemeral, ephemeral_public = _pair(ephemeral)
        self._state = state = _Symmetric(protocol_version, server)
        server_key = X25519PublicKey.from_public_bytes(server)
        state.mix(ephemeral_public)
        sealed_static = state.seal(state.derive(self._ephemeral.exchange(server_key)), machine_public)
        tag = state.seal(state.derive(self._machine.exchange(server_key)), b"")
        header = protocol_version.to_bytes(2, "big") + bytes((_INITIATION,)) + _INITIATION_PAYLOAD
        self.initiation = header + ephemeral_public + sealed_static + tag

    def take(self, buffer: bytearray) -> Channel | None:
        """Removes the response from the front of `buffer`; None if it is not all there yet.

        Raises ProtocolError for a refusal (with the server's words) or anything that is no response.
        """
        if len(buffer) < HEADER_BYTES:
            return None
        end = HEADER_BYTES + int.from_bytes(buffer[1:3], "big")
        _check_response_header(buffer[0], end)
        if len(buffer) < end:
            return None
        message = bytes(buffer[:end])
        del buffer[:end]
        if message[0] == _ERROR:
            raise ProtocolError(f"server error: {message[HEADER_BYTES:].decode(errors='replace')!r}")
        return self._finish(message)

    def _finish(self, response: bytes) -> Channel:
        state, server_ephemeral = self._state, response[3:35]
        try:
            state.mix(server_ephemeral)
            theirs = X25519PublicKey.from_public_bytes(server_ephemeral)
            state.derive(self._ephemeral.exchange(theirs))
            state.open(state.derive(self._machine.exchange(theirs)), response[35:])
        except (InvalidTag, ValueError) as error:
            raise ProtocolError("the server's handshake response does not authenticate") from error
        return state.split()


class _Symmetric:
    """Noise's symmetric state: `_hash` names everything said so far, `_chain` all secrets agreed so far."""

    __slots__ = ("_chain", "_hash")

    def __init__(self, protocol_version: int, server_public: bytes) -> None:
        self._chain = self._hash = _PROTOCOL
        self.mix(b"Tailscale Control Protocol v%d" % protocol_version)
        self.mix(server_public)

    def mix(self, data: bytes) -> None:
        self._hash = blake2s(self._hash + data).digest()

    def derive(self, secret: bytes) -> ChaCha20Poly1305:
        """Mixes a shared secret in; the cipher is for one use."""
        self._chain, key = _hkdf2(self._chain, secret)
        return ChaCha20Poly1305(key)

    def seal(self, cipher: ChaCha20Poly1305, plaintext: bytes) -> bytes:
        sealed = cipher.encrypt(_ZERO_NONCE, plaintext, self._hash)
        self.mix(sealed)
        return sealed

    def open(self, cipher: ChaCha20Poly1305, sealed: bytes) -> bytes:
        plaintext = cipher.decrypt(_ZERO_NONCE, sealed, self._hash)
        self.mix(sealed)
        return plaintext

    def split(self) -> Channel:
        return Channel(*_hkdf2(self._chain, b""), self._hash)


def _heard(private: X25519PrivateKey, public: bytes, initiation: bytes, version: int) -> Introduction:
    state, client_ephemeral = _Symmetric(version, public), initiation[5:37]
    state.mix(client_ephemeral)
    theirs = X25519PublicKey.from_public_bytes(client_ephemeral)
    machine = MachineKey(state.open(state.derive(private.exchange(theirs)), initiation[37:85]))
    return Introduction(machine, version, state, theirs, (private, public), initiation)


def _initiation_version(initiation: bytes) -> int:
    if len(initiation) != INITIATION_BYTES:
        raise BadFraming("wrong handshake initiation size")
    if initiation[2] != _INITIATION:
        raise BadFraming("unexpected handshake message type")
    if initiation[3:5] != _INITIATION_PAYLOAD:
        raise BadFraming("wrong handshake initiation length")
    return int.from_bytes(initiation[:2], "big")


def _check_response_header(kind: int, end: int) -> None:
    response = kind == _RESPONSE and end == RESPONSE_BYTES
    refusal = kind == _ERROR and end <= HEADER_BYTES + ERROR_TEXT_LIMIT
    if not response and not refusal:
        raise ProtocolError("not a handshake response")


def _pair(key: PrivateKey) -> tuple[X25519PrivateKey, bytes]:
    private = X25519PrivateKey.from_private_bytes(key)
    return private, private.public_key().public_bytes_raw()


def _hkdf2(chain: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """HKDF over HMAC-BLAKE2s (RFC 5869) with an empty info and two outputs of 32 bytes."""
    extracted = _hmac(chain, secret)
    first = _hmac(extracted, b"\x01")
    return first, _hmac(extracted, first + b"\x02")


def _hmac(key: bytes, message: bytes) -> bytes:
    """RFC 2104 for keys of at most one block; a third of the price of `hmac.digest` for these sizes."""
    block = key.ljust(_HMAC_BLOCK, b"\0")
    inner = blake2s(block.translate(_INNER_PAD) + message).digest()
    return blake2s(block.translate(_OUTER_PAD) + inner).digest()
