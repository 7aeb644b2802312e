"""What a connected node says of itself.

Reports come at every start and whenever a network changes, most of them with nothing new: those are answered
after one look.

A node whose key has expired is not heard: it is locked out, and its peers are told nothing by it. It gets an
error, not silence: so its client repeats the report, and what is true is known once an admin extends the key.

A change of `RequestTags` is not heeded here: tags change by a new login with `--advertise-tags`, or by an
admin. What is wished is kept in Hostinfo for the admin to see.
"""

from msgspec.structs import replace

from headscale_saas.actions import places
from headscale_saas.actions.approvals import PolicyOf, with_approved_routes
from headscale_saas.errors import NotFound, Refused
from headscale_saas.store import nodes, users
from headscale_saas.store.database import Database
from headscale_saas.store.directory import NodeRef
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.hostinfo import bounded, usable_endpoints
from headscale_saas.tailcfg.maps import MapRequest
from headscale_saas.tailnet import rules
from headscale_saas.tailnet.model import Actor, Node


async def report(
    db: Database, policy_of: PolicyOf, ref: NodeRef, request: MapRequest, known: Node | None = None
) -> None:
    """Takes over what a lite update (`Stream` false, `ReadOnly` false) says. Nothing new: no write.

    The door has checked that `ref.machine_key` is the Noise peer. `known` is the node as a cache has it; that
    may lag: it can tell of news, never that there is none. Raises NotFound (the node is gone, or
    has another key by now), and Refused (its key has expired).
    """
    if known is None or known.expired or known.node_key != ref.node_key or reported(known, request) == known:
        async with db.read(ref.tailnet) as tx:
            before = await _reporter(tx, ref)
        if reported(before, request) == before:
            return

    async def take_over(tx: TailnetTx) -> None:
        await _take_over(tx, policy_of, await _reporter(tx, ref), request)

    actor = Actor(kind="node", name=str(ref.machine_key))
    await db.write(ref.tailnet, actor, take_over)


def reported(node: Node, request: MapRequest) -> Node:
    """The node after a report. What is left out, or zero, is not known to the client and stays."""
    hostinfo = node.hostinfo
    if request.hostinfo is not None:
        hostinfo = rules.merged(hostinfo, bounded(request.hostinfo))
    net_info = hostinfo.net_info
    return replace(
        node,
        disco_key=node.disco_key if request.disco_key.is_zero else request.disco_key,
        endpoints=_endpoints(node, request),
        capver=request.version or node.capver,
        hostinfo=hostinfo,
        hostname=hostinfo.hostname,
        home_derp=(net_info.preferred_derp if net_info else 0) or node.home_derp,
    )


def _endpoints(node: Node, request: MapRequest) -> tuple[str, ...]:
    """A client that has just started knows none yet; the order they come in means nothing."""
    told = usable_endpoints(request.endpoints)
    return node.endpoints if not told or set(told) == set(node.endpoints) else told


async def _reporter(tx: TailnetTx, ref: NodeRef) -> Node:
    node = await nodes.get(tx, ref.node)
    if node is None or node.machine_key != ref.machine_key or node.node_key != ref.node_key:
        raise NotFound("node not found", code="no_such_node")
    if rules.is_expired(node, tx.now):
        raise Refused("the node key has expired", code="node_key_expired")
    return node


async def _take_over(tx: TailnetTx, policy_of: PolicyOf, before: Node, request: MapRequest) -> None:
    after = reported(before, request)
    if after.hostname != before.hostname:
        after = replace(after, name=await places.name_for(tx, before, after.hostname))
    if after.hostinfo.routable_ips != before.hostinfo.routable_ips:
        owner = None if after.user_id is None else await users.get(tx, after.user_id)
        after = await with_approved_routes(tx, policy_of, after, owner)
    if await nodes.update(tx, before, after):
        tx.touch(nodes=[before.id])
