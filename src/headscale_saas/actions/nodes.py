"""What an admin does to a node."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from msgspec.structs import replace

from headscale_saas.actions import leaving, places
from headscale_saas.actions.approvals import PolicyOf
from headscale_saas.errors import Conflict, Invalid, NotFound
from headscale_saas.store import addresses, nodes
from headscale_saas.store import settings as settings_row
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet import approval, names
from headscale_saas.tailnet import tags as tag_rules
from headscale_saas.tailnet.model import Actor, Node, NodeId, Settings, TailnetId, UserId

AT_ONCE = 200
"""How many nodes one transaction gives addresses to: others wait for it."""

Change = Callable[[TailnetTx, Node], Awaitable[Node]]


async def list_nodes(db: Database, tailnet: TailnetId, *, user: UserId | None = None) -> list[Node]:
    """By id; only those of one user if given."""
    async with db.read(tailnet) as tx:
        return await nodes.list_all(tx, user)


async def get_node(db: Database, tailnet: TailnetId, node: NodeId) -> Node:
    """Raises NotFound ("node not found")."""
    async with db.read(tailnet) as tx:
        return await _existing(tx, node)


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
    if at is not None and never:
        raise Invalid("expiry and disable expiry cannot both be set", field="expiry")

    async def expire(tx: TailnetTx, before: Node) -> Node:
        if never:
            return replace(before, expires_at=None, expired=False)
        # A moment in the past is now: peers shall never see the year 1970.
        moment = tx.now if at is None else max(at, tx.now)
        return replace(before, expires_at=moment, expired=moment <= tx.now)

    return await _change(db, actor, tailnet, node, "node.expire", expire)


async def rename_node(db: Database, actor: Actor, tailnet: TailnetId, node: NodeId, name: str) -> Node:
    """Fixes the DNS label. Raises NotFound, Invalid (not a label, too long), Conflict (taken)."""
    names.checked(name)

    async def rename(tx: TailnetTx, before: Node) -> Node:
        if name != before.name and await nodes.taken_names(tx, [name]):
            raise Conflict(f"name is not unique: {name} is taken", code="name_taken")
        return replace(before, name=name, name_is_fixed=True)

    return await _change(db, actor, tailnet, node, "node.rename", rename)


async def delete_node(db: Database, actor: Actor, tailnet: TailnetId, node: NodeId) -> None:
    """The row goes; its addresses rest for a day. Raises NotFound."""

    async def delete(tx: TailnetTx) -> None:
        gone = await _existing(tx, node)
        await leaving.remove(tx, gone)
        tx.audit("node.delete", f"node {node}", {"name": gone.name, "machine_key": str(gone.machine_key)})

    await db.write(tailnet, actor, delete)


async def tag_node(
    db: Database, policy_of: PolicyOf, actor: Actor, tailnet: TailnetId, node: NodeId, tags: Sequence[str]
) -> Node:
    """The node belongs to these tags and to no user any more. Raises NotFound, Invalid.

    Where the tailnet has a policy, it has to know the tags.
    """
    given = tag_rules.checked(tags)
    if not given:
        raise Invalid(
            "cannot remove all tags from a node - tagged nodes must have at least one tag", field="tags"
        )

    async def tag(tx: TailnetTx, before: Node) -> Node:
        approvals = await policy_of(tx)
        unknown = [tag for tag in given if approvals is not None and not approvals.has_tag(tag)]
        if unknown:
            raise Invalid(str(tag_rules.refusal(unknown)), field="tags", code="tags_not_permitted")
        others = await nodes.of_machine(tx, before.machine_key)
        if any(other.is_tagged and other.id != before.id for other in others):
            raise Conflict("this machine is a tagged node already", code="machine_taken")
        return replace(before, tags=given, user_id=None)

    return await _change(db, actor, tailnet, node, "node.tag", tag)


async def approve_routes(
    db: Database, actor: Actor, tailnet: TailnetId, node: NodeId, routes: Sequence[str]
) -> Node:
    """Replaces the approved routes; one exit route stands for both. Raises NotFound, Invalid."""

    async def approve(tx: TailnetTx, before: Node) -> Node:
        approved = approval.checked(routes, await settings_row.get(tx))
        return replace(before, approved_routes=approved)

    return await _change(db, actor, tailnet, node, "node.approve_routes", approve)


async def backfill_addresses(db: Database, actor: Actor, tailnet: TailnetId) -> list[str]:
    """Gives every node an address of each family the tailnet has, and takes the others. Says what changed."""
    numbers = [node.id for node in await list_nodes(db, tailnet)]
    done: list[str] = []
    for start in range(0, len(numbers), AT_ONCE):
        some = numbers[start : start + AT_ONCE]

        async def backfill(tx: TailnetTx, some: list[NodeId] = some) -> list[str]:
            settings = await settings_row.get(tx)
            found = [await nodes.get(tx, number) for number in some]
            return [line for node in found if node for line in await _backfill(tx, settings, node)]

        done += await db.write(tailnet, actor, backfill)
    return done


async def _backfill(tx: TailnetTx, settings: Settings, before: Node) -> list[str]:
    kept4 = before.ipv4 if settings.prefix_v4 else None
    kept6 = before.ipv6 if settings.prefix_v6 else None
    after = replace(
        before,
        ipv4=kept4 or await places.ipv4(tx, settings),
        ipv6=kept6 or await places.ipv6(tx, settings),
    )
    if not await nodes.update(tx, before, after):
        return []
    was, now = {before.ipv4, before.ipv6} - {None}, {after.ipv4, after.ipv6} - {None}
    await addresses.rest(tx, was - now)
    lines = [f"removed {address} from node {before.id} ({before.name})" for address in was - now]
    lines += [f"assigned {address} to node {before.id} ({before.name})" for address in now - was]
    tx.touch(nodes=[before.id])
    tx.audit("node.backfill", f"node {before.id}", {"changes": lines})
    return lines


async def _change(
    db: Database, actor: Actor, tailnet: TailnetId, node: NodeId, action: str, change: Change
) -> Node:
    """Writes what `change` makes of the node, with its audit row; nothing if it makes no difference."""

    async def verb(tx: TailnetTx) -> Node:
        before = await _existing(tx, node)
        after = await change(tx, before)
        if await nodes.update(tx, before, after):
            tx.touch(nodes=[node])
            tx.audit(action, f"node {node}", _difference(before, after))
        return after

    return await db.write(tailnet, actor, verb)


def _difference(before: Node, after: Node) -> dict[str, object]:
    changed = [name for name in nodes.COLUMNS if getattr(before, name) != getattr(after, name)]
    return {name: [str(getattr(before, name)), str(getattr(after, name))] for name in changed}


async def _existing(tx: TailnetTx, node: NodeId) -> Node:
    found = await nodes.get(tx, node)
    if found is None:
        raise NotFound("node not found", code="no_such_node")
    return found
