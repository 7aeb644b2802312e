"""Streams begin and end; online and offline.

`sessions` is unversioned: who holds a node's newest stream. What peers see is `nodes.online`, a version like
any other, and it flips off only after a grace, so that a reconnect costs nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from headscale_saas.errors import NotFound, Unavailable
from headscale_saas.observe import get_logger
from headscale_saas.store import directory, sessions
from headscale_saas.store.constraints import OF_A_TAILNET
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import SYSTEM, NodeId, ProcessNumber, TailnetId

GRACE = timedelta(seconds=10)

log = get_logger(__name__)


class Admitted(msgspec.Struct, frozen=True):
    """`token` stands for this stream for ever. `previous` is the process whose live stream it replaces."""

    token: int
    previous: ProcessNumber | None


async def admit(
    db: Database,
    process: ProcessNumber,
    tailnet: TailnetId,
    nodes: Collection[NodeId],
    *,
    seem_offline: bool = False,
) -> dict[NodeId, Admitted]:
    """Counts new map streams in; nodes that were offline come online (that alone makes a version).

    Where they `seem_offline` it is one write from the start, else mostly none. A node that is missing in the
    answer does not exist, or has a newer stream already: end its stream.
    """
    if seem_offline:

        async def enter(tx: TailnetTx) -> dict[NodeId, Admitted]:
            rows = await sessions.enter(tx, nodes, process)
            tx.touch(nodes=[row["node_id"] for row in rows if row["came_online"]])
            return _admitted(rows)

        return await db.write(tailnet, SYSTEM, enter)
    async with db.unversioned(tailnet) as tx:
        admitted = _admitted(await sessions.connect(tx, nodes, process))
        # In a statement of its own: `settle` may have taken a node offline while we waited for its row.
        offline = await sessions.offline_among(tx, list(admitted))
    if offline:

        async def show(tx: TailnetTx) -> None:
            tx.touch(nodes=await sessions.show_online(tx, offline))

        await db.write(tailnet, SYSTEM, show)
    return admitted


def _admitted(rows: Iterable[Any]) -> dict[NodeId, Admitted]:
    return {row["node_id"]: Admitted(row["token"], row["previous"]) for row in rows}


async def ended(db: Database, tailnet: TailnetId, tokens: Mapping[NodeId, int]) -> None:
    """Streams of this process ended. One that was replaced meanwhile (another token) counts for nothing.

    Token 0 is for one of which the process was not told whether it was admitted.
    """
    try:
        async with db.unversioned(tailnet) as tx:
            await sessions.end(tx, tokens, db.process)
    except NotFound:
        return  # the tailnet is gone, and its sessions with it


async def settle(db: Database, tailnets: Collection[TailnetId], now: datetime) -> int:
    """Takes nodes offline whose last stream ended 10 s ago, or whose process died. Returns how many.

    A process that was declared dead ended its streams with its last heartbeat.
    """
    if not tailnets:
        return 0
    async with db.directory() as tx:
        dead = {
            process.number: process.heartbeat_at
            for process in await directory.list_processes(tx)
            if process.dead_at is not None
        }
    return sum([await _settle(db, tailnet, now - GRACE, dead) for tailnet in tailnets])


async def _settle(
    db: Database, tailnet: TailnetId, before: datetime, dead: Mapping[ProcessNumber, datetime]
) -> int:
    async def settled(tx: TailnetTx) -> int:
        gone = await sessions.settle(tx, before, dead)
        tx.touch(nodes=gone)
        return len(gone)

    try:
        return await db.write(tailnet, SYSTEM, settled)
    except NotFound:
        return 0
    except Unavailable as problem:
        if problem.code not in OF_A_TAILNET:
            raise
        log.warning("presence_not_settled", tailnet=tailnet, reason=problem.message)
        return 0
    except Exception:
        log.exception("presence_not_settled", tailnet=tailnet)
        return 0
