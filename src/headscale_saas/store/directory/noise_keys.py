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
    """All that are not retired, the serving one first."""
    rows = await tx.fetch(
        "select public_key, private_wrapped, state, created_at from noise_keys where state <> 'retired'"
        " order by state <> 'serving', created_at"
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


async def set_noise_key_state(tx: DirectoryTx, public_key: MachineKey, state: str) -> bool:
    """Making a key serve makes the one before it merely accepted. False if there is no such key."""
    if state == "serving":
        await tx.execute(
            "update noise_keys set state = 'accepted' where state = 'serving' and public_key <> $1",
            public_key,
        )
    sql = "update noise_keys set state = $2 where public_key = $1"
    return await tx.execute(sql, public_key, state) > 0
