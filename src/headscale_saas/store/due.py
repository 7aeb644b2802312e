"""Which tailnets have something to do because time has passed: asked every other second, mostly in vain.

So it is one statement. Each part has an index of its own, so nothing is read of those that are not due.
"""

from datetime import datetime, timedelta

import msgspec

from headscale_saas.store.transactions import DirectoryTx
from headscale_saas.tailnet.model import TailnetId

DUE = """
select t.now,
  array(
    select tailnet_id from sessions where ended_at <= t.now - $2::interval
    union select tailnet_id from sessions where ended_at is null and process in (
      select number from processes where dead_at is not null and heartbeat_at <= t.now - $2::interval)
  ) as unsettled,
  array(select distinct tailnet_id from nodes where expires_at <= t.now and not expired) as expiring,
  array(
    select distinct tailnet_id from nodes
    where ephemeral and not online and (last_seen is null or last_seen <= t.now)
  ) as abandoned,
  array(select distinct tailnet_id from freed_addresses where freed_at <= t.now - $3::interval) as rested,
  (select c.reltuples < 100000 and pg_stat_get_mod_since_analyze(c.oid) > 50 + greatest(c.reltuples, 0) / 2
   from pg_class c where c.oid = 'nodes'::regclass) as grown
from (select coalesce($1, now()) as now) t
"""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """Tailnets, by what is due there at the moment `now`."""

    now: datetime
    unsettled: list[TailnetId]
    """Nodes are shown online whose stream ended, or whose process was last heard of, a grace ago."""
    expiring: list[TailnetId]
    """The time of a node's key has come."""
    abandoned: list[TailnetId]
    """An ephemeral node is away; for how long it may be is the tailnet's to say."""
    rested: list[TailnetId]
    """Addresses that were given back may be given again."""
    grown: bool
    """The tables are larger by half than the planner knows."""


async def read(tx: DirectoryTx, now: datetime | None, grace: timedelta, rest: timedelta) -> Due:
    """`now` None: the database's time, which all processes share."""
    row = await tx.fetchrow(DUE, now, grace, rest)
    assert row is not None  # it is made of arrays
    return Due(**dict(row))


async def analyze(tx: DirectoryTx) -> None:
    """Tells the planner of tables that have grown (migration 0005); plans made before are made anew."""
    await tx.execute("select analyze_grown()")
