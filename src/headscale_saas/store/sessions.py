"""Sessions: the newest map stream of each node. Unversioned; a token is never given twice."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from headscale_saas.store.transactions import DirectoryTx, TailnetTx
from headscale_saas.tailnet.model import NodeId, ProcessNumber, TailnetId

ADMITTED_WITHIN = timedelta(seconds=6)
"""Longer than any transaction: what had begun, but was not to be seen yet."""

CONNECTED = """
with wanted as (
  select w.id from unnest($3::bigint[]) as w(id)
  where exists (select from nodes n where n.tailnet_id = $1 and n.id = w.id) order by w.id
), before as (
  select node_id, process from sessions
  where tailnet_id = $1 and node_id = any($3::bigint[]) and ended_at is null
), connected as (
  insert into sessions as s (tailnet_id, node_id, cluster_id, token, process, started_at)
  select $1, id, $2, nextval('session_tokens'), $4, now() from wanted
  on conflict (tailnet_id, node_id) do update
    set token = excluded.token, process = excluded.process, started_at = excluded.started_at, ended_at = null
    where s.token < excluded.token
  returning s.node_id, s.token, (select process from before where before.node_id = s.node_id) as previous
)
"""
CONNECT = f"{CONNECTED} select node_id, token, previous from connected"
ENTER = f"""{CONNECTED}, shown as (
  update nodes n set online = true from connected
  where n.tailnet_id = $1 and n.id = connected.node_id and not n.online returning n.id
)
select c.node_id, c.token, c.previous, shown.id is not null as came_online
from connected c left join shown on shown.id = c.node_id
"""

END = """
update sessions s set ended_at = now()
from unnest($2::bigint[], $3::bigint[]) as e(node_id, token)
where s.tailnet_id = $1 and s.node_id = e.node_id and s.ended_at is null
  and (s.token = e.token or (e.token = 0 and s.process = $4))
"""

SETTLE = """
with dead as (
  select * from unnest($3::bigint[], $4::timestamptz[]) as d(process, at)
), over as (
  delete from sessions s where s.tailnet_id = $1
    and (s.ended_at <= $2 or (s.ended_at is null and s.process in (select process from dead where at <= $2)))
  returning s.node_id, coalesce(s.ended_at, (select at from dead where dead.process = s.process)) as at
)
update nodes n set online = false, last_seen = over.at
from over where n.tailnet_id = $1 and n.id = over.node_id and n.online
returning n.id
"""


async def connect(tx: TailnetTx, nodes: Collection[NodeId], process: ProcessNumber) -> list[Any]:
    """Counts streams in; rows of node_id, token, previous (the process of a stream that lives, or null)."""
    return await tx.fetch(CONNECT, tx.tailnet, tx.head.cluster_id, sorted(nodes), process)


async def enter(tx: TailnetTx, nodes: Collection[NodeId], process: ProcessNumber) -> list[Any]:
    """As `connect`, and shows the nodes online at once: `came_online` are those that were not. For a write,
    since nobody may take them offline meanwhile."""
    return await tx.fetch(ENTER, tx.tailnet, tx.head.cluster_id, sorted(nodes), process)


async def end(tx: TailnetTx, tokens: Mapping[NodeId, int], process: ProcessNumber) -> None:
    """Ends the streams that still are the newest of their node. Token 0: whichever is, if the process's."""
    await tx.execute(END, tx.tailnet, list(tokens), list(tokens.values()), process)


async def offline_among(tx: TailnetTx, nodes: Collection[NodeId]) -> list[NodeId]:
    """Those of the nodes that are not shown online."""
    sql = """
    select w.id from unnest($2::bigint[]) as w(id)
    where (select not n.online from nodes n where n.tailnet_id = $1 and n.id = w.id)
    """
    return [row["id"] for row in await tx.fetch(sql, tx.tailnet, list(nodes))]


async def show_online(tx: TailnetTx, nodes: Collection[NodeId]) -> list[NodeId]:
    """Those that have a live stream come online; returns the ones that were not."""
    sql = """
    update nodes n set online = true where n.tailnet_id = $1 and n.id = any($2::bigint[]) and not n.online
      and exists (select from sessions s where s.tailnet_id = $1 and s.node_id = n.id and s.ended_at is null)
    returning n.id
    """
    return [row["id"] for row in await tx.fetch(sql, tx.tailnet, list(nodes))]


async def settle(tx: TailnetTx, before: datetime, dead: Mapping[ProcessNumber, datetime]) -> list[NodeId]:
    """Takes nodes offline whose stream ended, or whose process was last heard of, at or before this time."""
    rows = await tx.fetch(SETTLE, tx.tailnet, before, list(dead), list(dead.values()))
    return [row["id"] for row in rows]


async def newest_elsewhere(
    tx: TailnetTx, nodes: Collection[NodeId], process: ProcessNumber
) -> dict[NodeId, int]:
    """The tokens of those of the nodes whose newest stream is, or was, another process's."""
    rows = await tx.fetch(
        "select node_id, token from sessions"
        " where tailnet_id = $1 and node_id = any($2::bigint[]) and process <> $3",
        tx.tailnet,
        list(nodes),
        process,
    )
    return {row["node_id"]: row["token"] for row in rows}


async def begun_elsewhere(
    tx: DirectoryTx, tailnets: Collection[TailnetId], process: ProcessNumber, since: datetime
) -> dict[TailnetId, dict[NodeId, int]]:
    """The tokens of the streams that other processes admitted since then (and a little before)."""
    rows = await tx.fetch(
        "select tailnet_id, node_id, token from sessions where tailnet_id = any($1::bigint[])"
        " and process <> $2 and started_at > $3::timestamptz - $4::interval",
        list(tailnets),
        process,
        since,
        ADMITTED_WITHIN,
    )
    tokens: dict[TailnetId, dict[NodeId, int]] = {}
    for row in rows:
        tokens.setdefault(row["tailnet_id"], {})[row["node_id"]] = row["token"]
    return tokens


async def database_time(tx: DirectoryTx) -> datetime:
    """The database's clock, which all processes share."""
    now: datetime = await tx.fetchval("select now()")
    return now
