"""The Noise keys of the service: one serves, the others are accepted until they are retired."""

from datetime import datetime

import msgspec

from headscale_saas.store.transactions import DirectoryTx
from headscale_saas.tailcfg.keys import MachineKey


class NoiseKey(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is serving, accepted or retired. `private_wrapped` None: the private half is in a file only."""

    public_key: MachineKey
    private_wrapped: bytes | None
    state: str
    created_at: datetime


async def list_noise_keys(tx: DirectoryTx) -> list[NoiseKey]:
    """The serving one first, retired ones last."""
    rows = await tx.fetch(
        "select public_key, private_wrapped, state, created_at from noise_keys"
        " order by state <> 'serving', state = 'retired', created_at"
    )
    return [
        NoiseKey(
            public_key=MachineKey(row["public_key"]),
            private_wrapped=row["private_wrapped"],
            state=row["state"],
            created_at=row["created_at"],
        )
        for row in rows
    ]


async def add_noise_key(
    tx: DirectoryTx, public_key: MachineKey, private_wrapped: bytes | None, state: str
) -> bool:
    """False if the key is there, or another one serves already (a faster process): then read the list."""
    made = await tx.execute(
        "insert into noise_keys (public_key, private_wrapped, state) values ($1, $2, $3)"
        " on conflict do nothing",
        public_key,
        private_wrapped,
        state,
    )
    return made > 0


async def revive_noise_key(tx: DirectoryTx, public_key: MachineKey, private_wrapped: bytes) -> bool:
    """A retired key is accepted again, and as new as one just added. False if it is not retired."""
    revived = await tx.execute(
        "update noise_keys set state = 'accepted', private_wrapped = $2, created_at = now()"
        " where public_key = $1 and state = 'retired'",
        public_key,
        private_wrapped,
    )
    return revived > 0


async def retire_noise_key(tx: DirectoryTx, public_key: MachineKey) -> bool:
    """Its private half is deleted; the public one stays, to tell an old key file from a strange one.

    False if it is not accepted: gone before, or serving.
    """
    retired = await tx.execute(
        "update noise_keys set state = 'retired', private_wrapped = null"
        " where public_key = $1 and state = 'accepted'",
        public_key,
    )
    return retired > 0


async def set_noise_key_state(tx: DirectoryTx, public_key: MachineKey, state: str) -> bool:
    """Making a key serve makes the one before it merely accepted. False if there is no such key."""
    if state == "serving":
        await tx.execute(
            "update noise_keys set state = 'accepted' where state = 'serving' and public_key <> $1",
            public_key,
        )
    sql = "update noise_keys set state = $2 where public_key = $1"
    return await tx.execute(sql, public_key, state) > 0
