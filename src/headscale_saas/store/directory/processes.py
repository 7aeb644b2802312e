"""Who runs, who is dead, and who holds a lease. All times are the database's.

A number is given once. A process that was declared dead stays dead: it may not write, and comes back with a
new number.
"""

from datetime import datetime, timedelta

import msgspec

from headscale_saas.errors import Unavailable
from headscale_saas.store.transactions import DirectoryTx
from headscale_saas.tailnet.model import ClusterId, ProcessNumber

DEAD_AFTER = timedelta(seconds=6)
"""Three heartbeats of two seconds."""


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """`dead_at` None: it lives."""

    number: ProcessNumber
    cluster_id: ClusterId
    name: str
    started_at: datetime
    heartbeat_at: datetime
    dead_at: datetime | None


async def register_process(tx: DirectoryTx, cluster: ClusterId, name: str) -> ProcessNumber:
    """A new number for a process that starts. Raises Conflict: there is no such cluster."""
    number = await tx.fetchval(
        "insert into processes (cluster_id, name) values ($1, $2) returning number", cluster, name
    )
    return ProcessNumber(number)


async def heartbeat(tx: DirectoryTx, process: ProcessNumber) -> bool:
    """False: others declared us dead."""
    sql = "update processes set heartbeat_at = now() where number = $1 and dead_at is null"
    return await tx.execute(sql, process) > 0


async def sign_off(tx: DirectoryTx, process: ProcessNumber) -> None:
    """An orderly end: nobody has to wait for three missed heartbeats."""
    await tx.execute(
        "update processes set heartbeat_at = now(), dead_at = now() where number = $1 and dead_at is null",
        process,
    )


async def declare_dead(tx: DirectoryTx, after: timedelta = DEAD_AFTER) -> list[ProcessNumber]:
    """Those whose heartbeat is older than `after`; each is named once."""
    rows = await tx.fetch(
        "update processes set dead_at = now() where dead_at is null and heartbeat_at < now() - $1::interval"
        " returning number",
        after,
    )
    return [row["number"] for row in rows]


async def list_processes(tx: DirectoryTx) -> list[Process]:
    """Living and dead, by number."""
    rows = await tx.fetch(
        "select number, cluster_id, name, started_at, heartbeat_at, dead_at from processes order by number"
    )
    return [Process(**dict(row)) for row in rows]


async def forget_dead(tx: DirectoryTx, older_than: timedelta) -> int:
    """Deletes the rows of long dead processes that have no session left; returns how many."""
    return await tx.execute(
        "delete from processes p where p.dead_at < now() - $1::interval"
        " and not exists (select from sessions s where s.process = p.number and s.ended_at is null)",
        older_than,
    )


async def take_lease(tx: DirectoryTx, name: str, duration: timedelta) -> int | None:
    """Takes or renews a lease for our process. Returns its fence, which grows with each change of holder.

    None: another process holds it.
    """
    if not tx.process:
        raise Unavailable("only a registered process can hold a lease")
    fence: int | None = await tx.fetchval(
        "insert into leases as l (name, process, fence, held_until) values ($1, $2, 1, now() + $3::interval)"
        " on conflict (name) do update set process = excluded.process, held_until = excluded.held_until,"
        " fence = l.fence + (l.process <> excluded.process)::int"
        " where l.process = excluded.process or l.held_until < now() returning l.fence",
        name,
        tx.process,
        duration,
    )
    return fence


async def release_lease(tx: DirectoryTx, name: str) -> None:
    """Lets another process take it at once; harmless if it is not ours."""
    await tx.execute(
        "update leases set held_until = now() - interval '1 second' where name = $1 and process = $2",
        name,
        tx.process,
    )
