"""What a device can do again and again leaves so many audit rows an hour; then they are counted.

Audit rows are kept for months, and a member may register, log out and shorten its key as often as it likes.
Every node that is made leaves a row. Those that go by themselves can be made without end: they share the rows
of the auth key, or the user, that lets them in. So whoever repeats hides nothing but its own repetitions.
"""

from collections.abc import Hashable, Mapping
from functools import partial

from headscale_saas.observe import Ration
from headscale_saas.observe.ration import HOUR
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Node, NodeId

NODE_ROWS = 10
"""Of one node, action and process; a device that is set up by hand needs two or three."""
EPHEMERAL_ROWS = 1000
"""The same for all ephemeral nodes of one auth key or user; and of those that a tailnet loses by time."""

NODES = Ration(NODE_ROWS, seconds=HOUR)
EPHEMERAL = Ration(EPHEMERAL_ROWS, seconds=HOUR)


def note(tx: TailnetTx, action: str, node: Node, detail: Mapping[str, object]) -> None:
    """The audit row of what a node did itself, if it has not had its share."""
    if node.ephemeral:
        share = partial(EPHEMERAL.left_out, _key(tx, action, node.auth_key_id, node.user_id))
    else:
        share = partial(NODES.left_out, _key(tx, action, node.id))
    tx.audit(action, f"node {node.id}", detail, share)


def note_by_time(tx: TailnetTx, action: str, node: NodeId, *, is_gone: bool) -> None:
    """That of a node whose time was over; those that are gone for good share the rows of their tailnet."""
    ration, key = (EPHEMERAL, _key(tx, action)) if is_gone else (NODES, _key(tx, action, node))
    tx.audit(action, f"node {node}", {"reason": "time"}, partial(ration.left_out, key))


def _key(tx: TailnetTx, *parts: Hashable) -> Hashable:
    # Numbers of tailnets count anew in every database.
    return (tx.tailnet, tx.head.created_at, *parts)
