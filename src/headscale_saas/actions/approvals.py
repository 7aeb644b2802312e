"""The port to the tailnet's policy, as far as verbs need it: tags, and routes that need no admin."""

from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_network
from typing import Protocol

from msgspec.structs import replace

from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import IPNetwork, Node, User


class Approvals(Protocol):
    """The part of a compiled policy that decides about writes."""

    def has_tag(self, tag: str) -> bool:
        """Whether the policy knows the tag at all (`tagOwners`)."""
        ...

    def may_have_tags(self, user: User | None, held: Iterable[str], wanted: Iterable[str]) -> bool:
        """Whether this owner (a user, or a node that holds tags already) may take the wanted tags."""
        ...

    def approves_route(self, route: IPNetwork, user: User | None, tags: Iterable[str]) -> bool:
        """Whether the route of a node with this owner needs no admin (`autoApprovers`)."""
        ...


PolicyOf = Callable[[TailnetTx], Awaitable[Approvals | None]]
"""The policy as it holds in this transaction; None: the tailnet has none.

A process that holds it compiled for `tx.head.version` takes that, and else compiles the one it reads in `tx`.
"""


async def no_policy(_tx: TailnetTx) -> Approvals | None:
    """For programs that compile no policies: nobody may ask for tags, every route needs an admin."""
    return None


async def with_approved_routes(tx: TailnetTx, policy_of: PolicyOf, node: Node, user: User | None) -> Node:
    """The node with those of its advertised routes approved that the policy approves by itself."""
    new = set(node.hostinfo.routable_ips) - set(node.approved_routes)
    approvals = await policy_of(tx) if new else None
    if approvals is None:
        return node
    approved = {route for route in new if approvals.approves_route(ip_network(route), user, node.tags)}
    return replace(node, approved_routes=tuple(sorted({*node.approved_routes, *approved})))


async def may_have_tags(
    tx: TailnetTx, policy_of: PolicyOf, user: User | None, held: Iterable[str], wanted: Iterable[str]
) -> bool:
    approvals = await policy_of(tx)
    return approvals is not None and approvals.may_have_tags(user, held, wanted)
