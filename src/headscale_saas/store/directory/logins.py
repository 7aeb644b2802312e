"""Logins that wait for a person. They have no tailnet until somebody approves them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec

from headscale_saas.errors import AlreadyUsed, LimitReached, NotFound
from headscale_saas.store.transactions import DirectoryTx
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailnet.model import NodeId, TailnetId

MOST_WAITING = 10_000


class PendingLogin(msgspec.Struct, frozen=True, kw_only=True):
    """`id_hash` is SHA-256 of the id in the URL; `request` is the device's request as JSON text.

    `verdict` is None while undecided, then "approved" (with tailnet and node) or "rejected" (with a reason).
    """

    id_hash: bytes
    flow: str
    machine_key: MachineKey
    node_key: NodeKey
    request: str
    origin: str = ""
    created_at: datetime
    expires_at: datetime
    verdict: str | None = None
    reason: str | None = None
    tailnet: TailnetId | None = None
    node: NodeId | None = None


COLUMNS = (
    "id_hash, flow, machine_key, node_key, request, origin, created_at, expires_at,"
    " verdict, reason, tailnet_id, node_id"
)


def from_record(row: Any) -> PendingLogin:
    return PendingLogin(
        id_hash=row["id_hash"],
        flow=row["flow"],
        machine_key=MachineKey(row["machine_key"]),
        node_key=NodeKey(row["node_key"]),
        request=row["request"],
        origin=row["origin"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        verdict=row["verdict"],
        reason=row["reason"],
        tailnet=row["tailnet_id"],
        node=row["node_id"],
    )


async def put_login(tx: DirectoryTx, login: PendingLogin, most: int = MOST_WAITING) -> None:
    """Replaces what the same machine was waiting for. Raises LimitReached when too many machines wait."""
    await delete_expired_logins(tx)
    waiting = await tx.fetchval(
        "select count(*) from (select from pending_logins where machine_key <> $1 limit $2) l",
        login.machine_key,
        most,
    )
    if waiting >= most:
        raise LimitReached("too many devices wait to be let in", retry_after_seconds=60)
    await tx.execute(
        "insert into pending_logins as l"
        " (id_hash, flow, machine_key, node_key, request, origin, created_at, expires_at)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8)"
        " on conflict (machine_key) do update set id_hash = excluded.id_hash, flow = excluded.flow,"
        " node_key = excluded.node_key, request = excluded.request, origin = excluded.origin,"
        " created_at = excluded.created_at, expires_at = excluded.expires_at,"
        " verdict = null, reason = null, tailnet_id = null, node_id = null",
        login.id_hash,
        login.flow,
        login.machine_key,
        login.node_key,
        login.request,
        login.origin,
        login.created_at,
        login.expires_at,
    )


async def find_login(tx: DirectoryTx, id_hash: bytes) -> PendingLogin | None:
    """None also when it has expired or was replaced."""
    return (await find_logins(tx, [id_hash])).get(id_hash)


async def find_logins(tx: DirectoryTx, id_hashes: Collection[bytes]) -> dict[bytes, PendingLogin]:
    """Those of them that have not expired, by id hash, decided or not."""
    rows = await tx.fetch(
        f"select {COLUMNS} from pending_logins where id_hash = any($1::bytea[]) and expires_at > now()",
        list(id_hashes),
    )
    return {row["id_hash"]: from_record(row) for row in rows}


async def decide_login(
    tx: DirectoryTx,
    id_hash: bytes,
    verdict: str,
    *,
    reason: str | None = None,
    tailnet: TailnetId | None = None,
    node: NodeId | None = None,
) -> PendingLogin:
    """Decides once; the same decision again is harmless. Raises NotFound, AlreadyUsed (decided otherwise)."""
    row = await tx.fetchrow(
        "update pending_logins set verdict = $2, reason = $3, tailnet_id = $4, node_id = $5"
        f" where id_hash = $1 and verdict is null and expires_at > now() returning {COLUMNS}",
        id_hash,
        verdict,
        reason,
        tailnet,
        node,
    )
    if row is not None:
        return from_record(row)
    login = await find_login(tx, id_hash)
    if login is None:
        raise NotFound("no such login waits", code="no_such_login")
    if (login.verdict, login.tailnet, login.node) != (verdict, tailnet, node):
        raise AlreadyUsed("this login was decided already")
    return login


async def delete_expired_logins(tx: DirectoryTx) -> int:
    """How many went."""
    return await tx.execute("delete from pending_logins where expires_at <= now()")
