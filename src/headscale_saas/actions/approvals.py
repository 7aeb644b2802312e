"""The port to the tailnet's policy, as far as verbs need it: tags, routes that need no admin, addresses."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Network, ip_network
from typing import Protocol

from msgspec.structs import replace

from headscale_saas.actions.apart import apart
from headscale_saas.errors import Invalid, Unavailable
from headscale_saas.policy.approvers import Approvers
from headscale_saas.policy.language import parse
from headscale_saas.store import policies
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

    def address_pools(self, user: User | None, tags: Iterable[str]) -> tuple[IPv4Network, ...]:
        """Where a new node of this owner gets its IPv4 address from; () = anywhere in the tailnet's range."""
        ...


PolicyOf = Callable[[TailnetTx], Awaitable[Approvals | None]]
"""The policy as it holds in this transaction; None: the tailnet has none."""

MEMO_CHARACTERS = 4 << 20


class Memo:
    """The approvals of the texts that were asked for last, of whatever tailnets: together at most 4 Mi."""

    def __init__(self, compile_: Callable[[str], Approvals]) -> None:
        self._compile = compile_
        self._known: OrderedDict[str, Approvals] = OrderedDict()

    async def of(self, text: str) -> Approvals:
        approvals = self._known.get(text)
        if approvals is None:
            approvals = await apart(self._compile, text)
        self._known[text] = approvals
        self._known.move_to_end(text)
        while len(self._known) > 1 and sum(map(len, self._known)) > MEMO_CHARACTERS:
            self._known.popitem(last=False)
        return approvals


def _compiled(text: str) -> Approvals:
    return Approvers(parse(text))


MEMO = Memo(_compiled)


async def policy_of(tx: TailnetTx) -> Approvals | None:
    """A PolicyOf: reads the text in the transaction. Raises Unavailable where it cannot be carried out."""
    text = await policies.text_in_force(tx)
    try:
        return await MEMO.of(text) if text else None
    except Invalid as problem:  # set by a newer release: nothing may be guessed
        raise Unavailable(
            f"the tailnet's policy is not understood: {problem}", code="policy_not_understood"
        ) from None


async def no_policy(_tx: TailnetTx) -> Approvals | None:
    """Nobody may ask for tags, every route needs an admin."""
    return None


async def with_approved_routes(tx: TailnetTx, policy_of: PolicyOf, node: Node, user: User | None) -> Node:
    """The node with those of its advertised routes approved that the policy approves by itself."""
    if set(node.hostinfo.routable_ips) <= set(node.approved_routes):
        return node
    approvals = await policy_of(tx)
    return node if approvals is None else approved_by(approvals, node, user)


def approved_by(approvals: Approvals, node: Node, user: User | None) -> Node:
    """The node with what these approve; what is approved already stays so."""
    new = set(node.hostinfo.routable_ips) - set(node.approved_routes)
    approved = {route for route in new if approvals.approves_route(ip_network(route), user, node.tags)}
    return replace(node, approved_routes=tuple(sorted({*node.approved_routes, *approved})))


async def may_have_tags(
    tx: TailnetTx, policy_of: PolicyOf, user: User | None, held: Iterable[str], wanted: Iterable[str]
) -> bool:
    approvals = await policy_of(tx)
    return approvals is not None and approvals.may_have_tags(user, held, wanted)
