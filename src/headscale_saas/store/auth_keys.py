"""Auth keys: row <-> value, and the queries."""

from datetime import datetime
from typing import Any

from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import AuthKey, KeyId, NodeId, UserId

COLUMNS = (
    "id", "prefix", "secret_hash", "user_id", "tags", "reusable", "ephemeral", "created_at", "expires_at",
    "used_at", "revoked_at",
)  # fmt: skip
"""The columns an AuthKey is made of, in the order of the model."""

SELECT = ", ".join(f"k.{name}" for name in COLUMNS)

INSERT = """
with counter as (
  update tailnet_settings set next_auth_key_id = next_auth_key_id + 1 where tailnet_id = $1
  returning next_auth_key_id - 1 as id
), reserved as (
  insert into auth_key_prefixes (prefix, tailnet_id) values ($3, $1)
)
insert into auth_keys (tailnet_id, cluster_id, id, prefix, secret_hash, user_id, tags, reusable, ephemeral,
  created_at, expires_at)
select $1, $2, id, $3, $4::bytea, $5::bigint, $6::text[], $7::boolean, $8::boolean, $9::timestamptz,
  $10::timestamptz from counter
returning id
"""


def from_record(row: Any) -> AuthKey:
    """A row with all of COLUMNS."""
    return AuthKey(
        id=row["id"],
        prefix=row["prefix"],
        secret_hash=row["secret_hash"],
        user_id=row["user_id"],
        tags=tuple(row["tags"]),
        reusable=row["reusable"],
        ephemeral=row["ephemeral"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        revoked_at=row["revoked_at"],
    )


async def insert(tx: TailnetTx, key: AuthKey) -> KeyId:
    """Writes a new key under the next number, and its prefix into the directory. `key.id` is not read."""
    values = (key.prefix, key.secret_hash, key.user_id, key.tags, key.reusable, key.ephemeral)
    times = (key.created_at, key.expires_at)
    number: int = await tx.fetchval(INSERT, tx.tailnet, tx.head.cluster_id, *values, *times)
    return KeyId(number)


async def get(tx: TailnetTx, key: KeyId) -> AuthKey | None:
    sql = f"select {SELECT} from auth_keys k where k.tailnet_id = $1 and k.id = $2"
    row = await tx.fetchrow(sql, tx.tailnet, key)
    return None if row is None else from_record(row)


async def list_all(tx: TailnetTx) -> list[AuthKey]:
    """By number."""
    sql = f"select {SELECT} from auth_keys k where k.tailnet_id = $1 order by k.id"
    return [from_record(row) for row in await tx.fetch(sql, tx.tailnet)]


async def spend(tx: TailnetTx, key: KeyId) -> bool:
    """Uses a single-use key up. False: it is used up already."""
    sql = "update auth_keys set used_at = $3 where tailnet_id = $1 and id = $2 and used_at is null"
    return await tx.execute(sql, tx.tailnet, key, tx.now) == 1


async def set_expiry(tx: TailnetTx, key: KeyId, expires_at: datetime) -> None:
    sql = "update auth_keys set expires_at = $3 where tailnet_id = $1 and id = $2"
    await tx.execute(sql, tx.tailnet, key, expires_at)


async def delete(tx: TailnetTx, key: AuthKey) -> list[NodeId]:
    """Deletes the key; returns the nodes that joined with it and now do not know it any more."""
    sql = "update nodes set auth_key_id = null where tailnet_id = $1 and auth_key_id = $2 returning id"
    nodes = await tx.fetch(sql, tx.tailnet, key.id)
    await tx.execute("delete from auth_keys where tailnet_id = $1 and id = $2", tx.tailnet, key.id)
    sql = "delete from auth_key_prefixes where tailnet_id = $1 and prefix = $2"
    await tx.execute(sql, tx.tailnet, key.prefix)
    return [row["id"] for row in nodes]


async def of_user(tx: TailnetTx, user: UserId) -> list[AuthKey]:
    sql = f"select {SELECT} from auth_keys k where k.tailnet_id = $1 and k.user_id = $2 order by k.id"
    return [from_record(row) for row in await tx.fetch(sql, tx.tailnet, user)]
