"""A device leaves, or wants its key to expire sooner."""

from datetime import datetime

from msgspec.structs import replace

from headscale_saas.actions import joins, repeats
from headscale_saas.actions.outcome import Declined, KeyExpired, LoggedOut, Registered
from headscale_saas.store import nodes
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailnet import expiry, rules
from headscale_saas.tailnet.model import Node, NodeId


async def heed(
    tx: TailnetTx, node_id: NodeId, machine: MachineKey, key: NodeKey, wish: datetime
) -> Registered | KeyExpired | LoggedOut | Declined:
    """The verb for a client's wish about the expiry of its own key. Raises Invalid for an extension."""
    node = await nodes.get(tx, node_id)
    if node is None:
        return LoggedOut()
    if node.machine_key != machine:
        return Declined(message=rules.KEY_IN_USE)
    if expiry.is_logout(wish, tx.now):
        await _log_out(tx, node, key)
        return LoggedOut()
    if node.node_key != key or rules.is_expired(node, tx.now):
        return KeyExpired()
    return await joins.registered(tx, await _shorten(tx, node, wish))


async def expire(tx: TailnetTx, node: Node) -> Node:
    """The node's key expires now; one that has expired stays as it is. Writes no audit row."""
    if rules.is_expired(node, tx.now) and node.expired:
        return node
    gone = replace(node, expires_at=_earlier(node.expires_at, tx.now), expired=True)
    await nodes.update(tx, node, gone)
    tx.touch(nodes=[node.id])
    return gone


async def remove(tx: TailnetTx, node: Node) -> None:
    """The node goes; its addresses rest. Writes no audit row."""
    await nodes.delete(tx, [node.id])
    tx.touch(nodes=[node.id])


async def _log_out(tx: TailnetTx, node: Node, key: NodeKey) -> None:
    if node.node_key != key:
        return  # an old key of a rotation: the node has a newer one, and stays
    if node.ephemeral:
        await remove(tx, node)
    elif not node.expired:
        await expire(tx, node)
    else:
        return
    repeats.note(tx, "node.logout", node, {"ephemeral": node.ephemeral})


async def _shorten(tx: TailnetTx, node: Node, wish: datetime) -> Node:
    expires_at = expiry.shortened(node.expires_at, wish, tx.now)
    if expires_at == node.expires_at:
        return node
    after = replace(node, expires_at=expires_at)
    await nodes.update(tx, node, after)
    tx.touch(nodes=[node.id])
    repeats.note(tx, "node.shorten", node, {"expires_at": str(expires_at)})
    return after


def _earlier(moment: datetime | None, now: datetime) -> datetime:
    return now if moment is None else min(moment, now)
