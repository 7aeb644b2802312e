"""Which tailnet a key belongs to, and reservations: reserve here, then write in the tailnet's own tables."""

from datetime import datetime
from typing import Any

import msgspec

from headscale_saas.errors import Conflict
from headscale_saas.store.transactions import DirectoryTx, TailnetTx
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailnet.model import NodeId, TailnetId, Version

AT_ONCE = 10_000


class NodeRef(msgspec.Struct, frozen=True, kw_only=True):
    """A node as its keys name it. `version` is its tailnet's at the time of the look."""

    tailnet: TailnetId
    node: NodeId
    machine_key: MachineKey
    node_key: NodeKey
    version: Version


def ref_from_record(row: Any) -> NodeRef:
    return NodeRef(
        tailnet=row["tailnet_id"],
        node=row["node_id"],
        machine_key=MachineKey(row["machine_key"]),
        node_key=NodeKey(row["node_key"]),
        version=row["version"],
    )


async def tailnet_of_auth_key(tx: DirectoryTx, prefix: str) -> TailnetId | None:
    """Whose auth key this is; the secret is for the tailnet to check."""
    tailnet: TailnetId | None = await tx.fetchval(
        "select tailnet_id from auth_key_prefixes where prefix = $1", prefix
    )
    return tailnet


async def tailnet_of_api_key(tx: DirectoryTx, prefix: str) -> TailnetId | None:
    """Whose API key this is; the secret is for the tailnet to check."""
    tailnet: TailnetId | None = await tx.fetchval(
        "select tailnet_id from api_key_prefixes where prefix = $1", prefix
    )
    return tailnet


async def node_of_key(tx: DirectoryTx, node_key: NodeKey) -> NodeRef | None:
    """The node that holds this key, or held it until its last rotation is complete."""
    row = await tx.fetchrow(
        "select k.tailnet_id, k.node_id, k.machine_key, k.node_key, t.version"
        " from node_keys k join tailnets t on t.id = k.tailnet_id"
        " where k.node_key = $1 and k.freed_at is null",
        node_key,
    )
    return None if row is None else ref_from_record(row)


async def nodes_of_machine(tx: DirectoryTx, machine_key: MachineKey) -> list[NodeRef]:
    """The nodes this machine is, in all tailnets; `node_key` is one of those the node holds."""
    rows = await tx.fetch(
        "select m.tailnet_id, m.node_id, m.machine_key, k.node_key, t.version"
        " from machine_keys m join tailnets t on t.id = m.tailnet_id cross join lateral"
        " (select node_key from node_keys k"
        "  where k.tailnet_id = m.tailnet_id and k.node_id = m.node_id limit 1) k"
        " where m.machine_key = $1 order by m.tailnet_id, m.node_id",
        machine_key,
    )
    return [ref_from_record(row) for row in rows]


async def reserve_auth_key(tx: TailnetTx, prefix: str) -> None:
    """Raises Conflict: draw another prefix."""
    await tx.execute("insert into auth_key_prefixes (prefix, tailnet_id) values ($1, $2)", prefix, tx.tailnet)


async def release_auth_key(tx: TailnetTx, prefix: str) -> None:
    """The key leads to no tailnet any more."""
    await tx.execute("delete from auth_key_prefixes where prefix = $1", prefix)


async def reserve_api_key(tx: TailnetTx, prefix: str) -> None:
    """Raises Conflict: draw another prefix."""
    await tx.execute("insert into api_key_prefixes (prefix, tailnet_id) values ($1, $2)", prefix, tx.tailnet)


async def release_api_key(tx: TailnetTx, prefix: str) -> None:
    """The key leads to no tailnet any more."""
    await tx.execute("delete from api_key_prefixes where prefix = $1", prefix)


async def reserve_node_key(tx: TailnetTx, node_key: NodeKey, machine_key: MachineKey, node: NodeId) -> None:
    """Harmless if the node has the key already. Raises Conflict if anybody else has it, in any tailnet."""
    made = await tx.execute(
        "insert into node_keys (node_key, machine_key, tailnet_id, node_id) values ($1, $2, $3, $4)"
        " on conflict do nothing",
        node_key,
        machine_key,
        tx.tailnet,
        node,
    )
    if made:
        return
    is_ours = await tx.fetchval(
        "select true from node_keys where node_key = $1 and machine_key = $2 and node_id = $3",
        node_key,
        machine_key,
        node,
    )
    if not is_ours:
        raise Conflict("the key is in use", code="key_in_use")


async def release_node_key(tx: TailnetTx, node_key: NodeKey) -> None:
    """Somebody else may have the key from now on."""
    await tx.execute("delete from node_keys where node_key = $1", node_key)


async def reserve_machine(tx: TailnetTx, machine_key: MachineKey, node: NodeId) -> None:
    """Notes that this machine is this node; harmless if it is noted."""
    await tx.execute(
        "insert into machine_keys (machine_key, tailnet_id, node_id) values ($1, $2, $3)"
        " on conflict do nothing",
        machine_key,
        tx.tailnet,
        node,
    )


async def forget_resting_keys(tx: DirectoryTx, before: datetime) -> int:
    """The keys of nodes that were deleted at or before this time are anybody's again; at most 10,000."""
    return await tx.execute(
        "delete from node_keys where node_key in"
        " (select node_key from node_keys where freed_at <= $1 order by freed_at limit $2)",
        before,
        AT_ONCE,
    )


async def release_node(tx: TailnetTx, node: NodeId, machine_key: MachineKey) -> None:
    """Everything the directory knows of a node that goes."""
    await tx.execute("delete from node_keys where tailnet_id = $1 and node_id = $2", tx.tailnet, node)
    await tx.execute(
        "delete from machine_keys where machine_key = $1 and tailnet_id = $2 and node_id = $3",
        machine_key,
        tx.tailnet,
        node,
    )
