"""The audit log as a whole; a tailnet's transaction appends to it (`TailnetTx.audit`)."""

from datetime import datetime

from headscale_saas.store.transactions import DirectoryTx

TRIM_AT_ONCE = 10_000


async def trim(tx: DirectoryTx, before: datetime) -> int:
    """Deletes at most 10,000 rows of all tailnets, the oldest first; returns how many. Call again while it
    is full. Rows of tailnets that are gone are among them.
    """
    return await tx.execute(
        "delete from audit a using (select tailnet_id, id from audit where at < $1 order by at limit $2) old"
        " where a.tailnet_id = old.tailnet_id and a.id = old.id",
        before,
        TRIM_AT_ONCE,
    )
