"""Logins that wait for a person: the question that many waiters share, and room for new ones."""

from collections.abc import Collection
from datetime import timedelta

from headscale_saas.store.transactions import DirectoryTx

MAKE_ROOM = """
with waiting as (
  select id_hash, verdict, created_at, case
    when origin ~ '^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$' then network(set_masklen(origin::inet, 64))::text
    else origin end as place
  from pending_logins
)
delete from pending_logins where id_hash = (
  select id_hash from waiting where place = (
    select place from waiting group by place order by count(*) desc limit 1)
  order by verdict is null, created_at limit 1)
"""


async def undecided(tx: DirectoryTx, id_hashes: Collection[bytes]) -> set[bytes]:
    """Those that still wait; the others were decided, replaced, or have expired."""
    sql = """
    select id_hash from pending_logins
    where id_hash = any($1::bytea[]) and verdict is null and expires_at > now()
    """
    return {row["id_hash"] for row in await tx.fetch(sql, list(id_hashes))}


async def make_room(tx: DirectoryTx) -> None:
    """Where too many wait: those who are decided go, else the oldest of the origin that has the most.

    So a flood from one place pushes itself out, and not the person who is about to be approved. A /64 of
    IPv6 is one place.
    """
    if await forget_decided(tx, timedelta(hours=1)):
        return
    await tx.execute(MAKE_ROOM)


async def forget_decided(tx: DirectoryTx, older_than: timedelta) -> int:
    """Deletes decided logins that began so long ago: whoever waited for the verdict has it by now."""
    sql = "delete from pending_logins where verdict is not null and created_at < now() - $1::interval"
    return await tx.execute(sql, older_than)
