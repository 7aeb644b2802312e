"""The Noise keys of the service: one serves, others are still accepted while clients learn of a new one.

A key lives in a file, or in the database wrapped with a key that is never there. Which keys there are, and
which of them serves, the database says; the file is one more place where a private half may be. Where nobody
here has the private half of the serving key, the start is refused: a new key would log every node out.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from headscale_saas.actions import noise_keys as actions
from headscale_saas.clock import pause
from headscale_saas.errors import Error, Invalid, Refused
from headscale_saas.observe import get_logger
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.tailcfg.keys import MachineKey, PrivateKey
from headscale_saas.wire.noise import ServerKeys

NONCE_BYTES = 12
LOOK_SECONDS = 5.0

log = get_logger(__name__)


class Held(msgspec.Struct, frozen=True):
    """The keys whose private half is here, and the accepted ones where it is not."""

    keys: ServerKeys
    absent: tuple[MachineKey, ...]


async def found(database: Database, path: Path, wrapping_path: Path) -> ServerKeys:
    """The keys, made and recorded if the service has none yet. Raises Refused, Invalid."""
    known = await actions.list_noise_keys(database)
    if not _serving(known):
        private = read_key(path) or _make_key(path)
        known = await _record(database, private, read_key(wrapping_path) or _make_key(wrapping_path))
    return held(known, path, wrapping_path).keys


def held(known: list[directory.NoiseKey], path: Path, wrapping_path: Path) -> Held:
    """What of the service's keys is here. Raises Refused (the serving one is not), Invalid."""
    wrapping, filed = read_key(wrapping_path), read_key(path)
    ours = {key.public_key: private for key in known if (private := _unwrap(key, wrapping))}
    serving, *accepted = (key.public_key for key in known if key.state != "retired")
    if filed is not None:
        if public_half(filed) not in {key.public_key for key in known}:
            raise Refused(_other(path, serving), code="noise_key_differs")
        ours[public_half(filed)] = filed
    if serving not in ours:
        raise Refused(_missing(path, wrapping_path, serving), code="noise_key_missing")
    keys = ServerKeys(ours[serving], (ours[key] for key in accepted if key in ours))
    return Held(keys, tuple(key for key in accepted if key not in ours))


async def follow(
    database: Database, path: Path, wrapping_path: Path, use: Callable[[ServerKeys], None]
) -> None:
    """For ever: hands over the keys whenever they have changed. While they cannot be read, or the serving one
    is not here, those of before stay in use, and the log says why, once.
    """
    said, used = "", b""
    while True:
        await pause(LOOK_SECONDS)
        try:
            now = held(await actions.list_noise_keys(database), path, wrapping_path)
        except (Error, OSError) as problem:
            if said != (said := str(problem)):
                log.error("noise_keys_not_read", reason=said)
            continue
        if used != (used := b"".join(public for _, public in now.keys.pairs)):
            use(now.keys)
            log.info("noise_keys", serving=str(now.keys.serving), accepted=len(now.keys.pairs) - 1)
        absent = ", ".join(map(str, now.absent))
        if said != (said := absent) and absent:
            log.error("noise_key_not_here", keys=absent, wanted=str(wrapping_path))


async def add(
    database: Database, wrapping_path: Path, private: PrivateKey | None = None
) -> directory.NoiseKey:
    """Accepts a new key, or the given one. Raises Refused (the wrapping key is not here), Conflict."""
    wrapping = read_key(wrapping_path)
    wrapped = [key for key in await actions.list_noise_keys(database) if key.private_wrapped]
    if wrapping is None or not all(_unwrap(key, wrapping) for key in wrapped):
        raise Refused(
            f"{wrapping_path} is not the key that wraps the service's keys: run this where a server runs, "
            "with its configuration",
            code="wrapping_key_missing",
        )
    private = private or PrivateKey(secrets.token_bytes(32))
    return await actions.add_noise_key(database, public_half(private), _wrap(private, wrapping))


def public_half(private: PrivateKey) -> MachineKey:
    return MachineKey(X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())


async def _record(database: Database, private: PrivateKey, wrapping: PrivateKey) -> list[directory.NoiseKey]:
    """Tells the other processes which key serves; returns all keys. Of two that start at once, one wins."""
    public, wrapped = public_half(private), _wrap(private, wrapping)
    async with database.directory() as tx:
        await directory.add_noise_key(tx, public, wrapped, "serving")
        known = await directory.list_noise_keys(tx)
    if known[0].public_key != public:
        raise Refused(
            "another process has just made the service's Noise key; give this one the same file",
            code="noise_key_differs",
        )
    return known


def _serving(known: list[directory.NoiseKey]) -> bool:
    return any(key.state == "serving" for key in known)


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
