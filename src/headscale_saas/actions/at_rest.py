"""What has to be checked against all rows of a tailnet before it is written, and may take long.

It is checked apart from the tailnet's lane, against the rows of one moment, and then written if the tailnet
is still at that version. In one that never rests it is checked in the lane, and writes wait.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from headscale_saas.actions.apart import CHECKS, apart
from headscale_saas.store import policies
from headscale_saas.store.database import Database
from headscale_saas.store.policies import Rows
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, TailnetId

Found = TypeVar("Found")
Done = TypeVar("Done")

TRIES = 2


async def check_and_put(
    db: Database,
    actor: Actor,
    tailnet: TailnetId,
    check: Callable[[Rows], Found],
    put: Callable[[TailnetTx, Found], Awaitable[Done]],
) -> Done:
    """What `put` returns, never None, for what `check` found in the rows that it then writes to.

    Raises what both raise; what `check` raises leaves everything as it was.
    """
    for _ in range(TRIES):
        async with db.read(tailnet) as tx:
            rows = await policies.rows(tx)
        done = await db.write(tailnet, actor, _at(rows, await apart(CHECKS, check, rows), put))
        if done is not None:
            return done

    async def in_lane(tx: TailnetTx) -> Done:
        return await put(tx, await apart(CHECKS, check, await policies.rows(tx)))

    return await db.write(tailnet, actor, in_lane)


def _at(
    rows: Rows, found: Found, put: Callable[[TailnetTx, Found], Awaitable[Done]]
) -> Callable[[TailnetTx], Awaitable[Done | None]]:
    """The verb that writes if the tailnet is as it was when the rows were read; else None."""

    async def verb(tx: TailnetTx) -> Done | None:
        return await put(tx, found) if tx.head.version == rows.version and tx.is_at_head else None

    return verb
