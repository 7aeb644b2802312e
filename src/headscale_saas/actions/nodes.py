"""What an admin does to a node."""

from collections.abc import Sequence
from datetime import datetime

from headscale_saas.actions.approvals import PolicyOf
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import Actor, Node, NodeId, TailnetId, UserId


async def list_nodes(db: Database, tailnet: TailnetId, *, user: UserId | None = None) -> list[Node]:
    """By id; only those of one user if given."""
    raise NotImplementedError


async def get_node(db: Database, tailnet: TailnetId, node: NodeId) -> Node:
    """Raises NotFound ("node not found")."""
    raise NotImplementedError


async def expire_node(
    db: Database,
    actor: Actor,
    tailnet: TailnetId,
    node: NodeId,
    *,
    at: datetime | None = None,
    never: bool = False,
) -> Node:
    """The key expires now, or `at`, or `never`. Raises NotFound; Invalid for both at once."""
    raise NotImplementedError


async def rename_node(db: Database, actor: Actor, tailnet: TailnetId, node: NodeId, name: str) -> Node:
    """Fixes the DNS label. Raises NotFound, Invalid (not a label, too long), Conflict (taken)."""
    raise NotImplementedError


async def delete_node(db: Database, actor: Actor, tailnet: TailnetId, node: NodeId) -> None:
    """The row goes; its addresses rest for a day. Raises NotFound."""
    raise NotImplementedError


async def tag_node(
    db: Database, policy_of: PolicyOf, actor: Actor, tailnet: TailnetId, node: NodeId, tags: Sequence[str]
) -> Node:
    """The node belongs to these tags and to no user any more. Raises NotFound, Invalid."""
    raise NotImplementedError


async def approve_routes(
    db: Database, actor: Actor, tailnet: TailnetId, node: NodeId, routes: Sequence[str]
) -> Node:
    """Replaces the approved routes; one exit route stands for both. Raises NotFound, Invalid."""
    raise NotImplementedError


async def backfill_addresses(db: Database, actor: Actor, tailnet: TailnetId) -> list[str]:
    """Gives every node an address of each family the tailnet has, and takes the others. Says what changed."""
    raise NotImplementedError
