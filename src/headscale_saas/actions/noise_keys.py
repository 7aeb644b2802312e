"""The service's Noise keys: add one, let it serve, retire it.

A key is accepted for a while before it serves: a client that is told a key by one process may come to
another one with it, and each learns of a new key only when it looks. None of this belongs to a tailnet, so no
tailnet's audit log has it; the processes log what they learn.
"""

from datetime import datetime, timedelta

from headscale_saas.errors import Conflict, Invalid, NotFound, Refused
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.store.directory import NoiseKey
from headscale_saas.store.transactions import DirectoryTx
from headscale_saas.tailcfg.keys import MachineKey

LEARNED_WITHIN = timedelta(seconds=15)
"""Every process has looked by then, three times over."""

SHORTEST_PREFIX = 4


async def list_noise_keys(db: Database) -> list[NoiseKey]:
    """The serving one first, retired ones last."""
    async with db.directory() as tx:
        return await directory.list_noise_keys(tx)


async def add_noise_key(db: Database, public: MachineKey, wrapped: bytes) -> NoiseKey:
    """Accepts a key, or one again that was retired. Raises Conflict: it is in use."""
    async with db.directory() as tx:
        added = await directory.add_noise_key(tx, public, wrapped, "accepted")
        if not added and not await directory.revive_noise_key(tx, public, wrapped):
            raise Conflict("the service has this Noise key already", code="noise_key_known")
        return await _find(tx, str(public))


async def serve_noise_key(db: Database, name: str) -> NoiseKey:
    """Clients are told this key from now on; the one before stays accepted.

    `name` is the key, or how it begins. Raises Invalid, NotFound; Refused for a retired key, or one that not
    every process may know yet.
    """
    async with db.directory() as tx:
        key = await _find(tx, name)
        if key.state == "retired":
            raise Refused("this key is retired: add it again from its file first", code="noise_key_retired")
        _demand_known(key, await tx.fetchval("select now()"))
        await directory.set_noise_key_state(tx, key.public_key, "serving")
        return await _find(tx, str(key.public_key))


async def retire_noise_key(db: Database, name: str) -> NoiseKey:
    """Nobody gets in by this key any more, and its private half is deleted.

    `name` is the key, or how it begins. Raises Invalid, NotFound; Refused for the key that serves.
    """
    async with db.directory() as tx:
        key = await _retirable(tx, name)
        await directory.retire_noise_key(tx, key.public_key)
        return await _find(tx, str(key.public_key))


async def noise_key_to_retire(db: Database, name: str) -> NoiseKey:
    """The key that `retire_noise_key` would retire. Raises as that does, and changes nothing."""
    async with db.directory() as tx:
        return await _retirable(tx, name)


async def _retirable(tx: DirectoryTx, name: str) -> NoiseKey:
    key = await _find(tx, name)
    if key.state == "serving":
        raise Refused("this key serves: let another one serve first", code="noise_key_serves")
    return key


def _demand_known(key: NoiseKey, now: datetime) -> None:
    left = LEARNED_WITHIN - (now - key.created_at)
    if key.state != "serving" and left > timedelta(0):
        raise Refused(
            f"a process may take {LEARNED_WITHIN.seconds} s to learn of a new key, and this one has just "
            f"been added: try again in {left.seconds + 1} s",
            code="noise_key_too_new",
        )


async def _find(tx: DirectoryTx, name: str) -> NoiseKey:
    digits = name.strip().lower().removeprefix(MachineKey.prefix)
    if len(digits) < SHORTEST_PREFIX:
        raise Invalid(f"at least the first {SHORTEST_PREFIX} digits of the key are needed", field="key")
    found = [key for key in await directory.list_noise_keys(tx) if key.public_key.hex().startswith(digits)]
    if not found:
        raise NotFound("no such Noise key: see headscale noisekeys list", code="no_such_noise_key")
    if len(found) > 1:
        raise Invalid("more than one key begins like that", field="key")
    return found[0]
