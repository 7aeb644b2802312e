"""The Noise keys of the service: one serves, others are still accepted while clients learn of a new one.

A key lives in a file, or in the database wrapped with a key that is never there. The file wins. Where the
database knows the public half of the serving key but nobody here has the private one, the start is
refused: a new key would log every node out.
"""

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from headscale_saas.errors import Invalid, Refused
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.tailcfg.keys import MachineKey, PrivateKey
from headscale_saas.wire.noise import ServerKeys

NONCE_BYTES = 12


async def found(database: Database, path: Path, wrapping_path: Path) -> ServerKeys:
    """The keys, made and recorded if the service has none yet. Raises Refused, Invalid."""
    async with database.directory() as tx:
        known = await directory.list_noise_keys(tx)
    serving = next((key for key in known if key.state == "serving"), None)
    wrapping = read_key(wrapping_path)
    private = read_key(path) or (_unwrap(serving, wrapping) if serving else None)
    if private is None:
        if serving is not None:
            raise Refused(_missing(path, wrapping_path, serving.public_key), code="noise_key_missing")
        private = _make_key(path)
    if serving is None:
        await _record(database, private, wrapping or _make_key(wrapping_path))
    elif public_half(private) != serving.public_key:
        raise Refused(_other(path, serving.public_key), code="noise_key_differs")
    accepted = [_unwrap(key, wrapping) for key in known if key.state == "accepted"]
    return ServerKeys(private, (key for key in accepted if key is not None))


def public_half(private: PrivateKey) -> MachineKey:
    return MachineKey(X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())


async def _record(database: Database, private: PrivateKey, wrapping: PrivateKey) -> None:
    """Tells the other processes which key serves. Of two that start at once, one wins."""
    public, wrapped = public_half(private), _wrap(private, wrapping)
    async with database.directory() as tx:
        await directory.add_noise_key(tx, public, wrapped, "serving")
        known = await directory.list_noise_keys(tx)
    if known[0].public_key != public:
        raise Refused(
            "another process has just made the service's Noise key; give this one the same file",
            code="noise_key_differs",
        )


def read_key(path: Path) -> PrivateKey | None:
    """The key in a file; None if there is no such file. Raises Invalid."""
    try:
        return PrivateKey.parse(path.read_text().strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} holds no key: {error}") from None


def _make_key(path: Path) -> PrivateKey:
    """A new key in a file that only we can read; never over an existing file."""
    private = PrivateKey(secrets.token_bytes(32))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under its name only when it is whole: another process may be looking for it at this moment.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(private.reveal() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        made = read_key(path)
        assert made is not None
        return made
    finally:
        draft.unlink()
    return private


def _wrap(private: PrivateKey, wrapping: PrivateKey) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + ChaCha20Poly1305(wrapping).encrypt(nonce, private, b"noise")


def _unwrap(key: directory.NoiseKey, wrapping: PrivateKey | None) -> PrivateKey | None:
    if key.private_wrapped is None or wrapping is None:
        return None
    nonce, sealed = key.private_wrapped[:NONCE_BYTES], key.private_wrapped[NONCE_BYTES:]
    try:
        return PrivateKey(ChaCha20Poly1305(wrapping).decrypt(nonce, sealed, b"noise"))
    except InvalidTag:
        return None


def _missing(path: Path, wrapping_path: Path, public: MachineKey) -> str:
    return (
        f"the service's Noise key {public} is not here: put its private half into {path} (a copy of the "
        f"file of another process), or the key that unwraps it into {wrapping_path}. A new key would log "
        "every node out, so none is made"
    )


def _other(path: Path, public: MachineKey) -> str:
    return f"{path} is not the service's Noise key: clients of this database know {public}"
