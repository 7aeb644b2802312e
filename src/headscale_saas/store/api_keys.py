"""API keys: row <-> value, and the queries."""

from datetime import datetime
from typing import Any

from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import ApiKey, KeyId

COLUMNS = ("id", "prefix", "secret_hash", "created_at", "expires_at", "last_used_at")
SELECT = ", ".join(f"k.{name}" for name in COLUMNS)

INSERT = """
with counter as (
  update tailnet_settings set next_api_key_id = next_api_key_id + 1 where tailnet_id = $1
  returning next_api_key_id - 1 as id
), reserved as (
  insert into api_key_prefixes (prefix, tailnet_id) values ($3, $1)
)
insert into api_keys (tailnet_id, cluster_id, id, prefix, secret_hash, created_at, expires_at)
select $1, $2, id, $3, $4::bytea, $5::timestamptz, $6::timestamptz from counter
returning id
"""


def from_record(row: Any) -> ApiKey:
    """A row with all of COLUMNS."""
    return ApiKey(**{name: row[name] for name in COLUMNS})


async def insert(tx: TailnetTx, key: ApiKey) -> KeyId:
    """Writes a new key under the next number, and its prefix into the directory. `key.id` is not read."""
    values = (key.prefix, key.secret_hash, key.created_at, key.expires_at)
    number: int = await tx.fetchval(INSERT, tx.tailnet, tx.head.cluster_id, *values)
    return KeyId(number)


async def find(tx: TailnetTx, *, key: KeyId | None = None, prefix: str | None = None) -> ApiKey | None:
    """By number, or by prefix."""
    sql = f"select {SELECT} from api_keys k where k.tailnet_id = $1 and (k.id = $2 or k.prefix = $3)"
    row = await tx.fetchrow(sql, tx.tailnet, key, prefix)
    return None if row is None else from_record(row)


async def list_all(tx: TailnetTx) -> list[ApiKey]:
    """By number."""
    sql = f"select {SELECT} from api_keys k where k.tailnet_id = $1 order by k.id"
    return [from_record(row) for row in await tx.fetch(sql, tx.tailnet)]


async def set_expiry(tx: TailnetTx, key: KeyId, expires_at: datetime) -> None:
    sql = "update api_keys set expires_at = $3 where tailnet_id = $1 and id = $2"
    await tx.execute(sql, tx.tailnet, key, expires_at)


async def delete(tx: TailnetTx, key: ApiKey) -> None:
    await tx.execute("delete from api_keys where tailnet_id = $1 and id = $2", tx.tailnet, key.id)
    sql = "delete from api_key_prefixes where tailnet_id = $1 and prefix = $2"
    await tx.execute(sql, tx.tailnet, key.prefix)
