"""Logins that wait for a person: the question that many waiters share."""

from collections.abc import Collection

from headscale_saas.store.transactions import DirectoryTx


async def undecided(tx: DirectoryTx, id_hashes: Collection[bytes]) -> set[bytes]:
    """Those that still wait; the others were decided, replaced, or have expired."""
    sql = """
    select id_hash from pending_logins
    where id_hash = any($1::bytea[]) and verdict is null and expires_at > now()
    """
    return {row["id_hash"] for row in await tx.fetch(sql, list(id_hashes))}
