"""The port to the tailnet's policy, as far as verbs need it: tags, routes that need no admin, addresses."""

from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Network, ip_network
from typing import Protocol

from msgspec.structs import replace

from headscale_saas.actions.apart import READS, apart
from headscale_saas.errors import Invalid, Unavailable
from headscale_saas.policy.approvers import Approvers
from headscale_saas.policy.language import parse
from headscale_saas.store import policies
from headscale_saas.store import settings as settings_row
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.approval import objection
from headscale_saas.tailnet.model import IPNetwork, Node, Settings, User


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

    @property
    def has_address_pools(self) -> bool:
        """Whether there are nodes that get their address from a pool."""
        ...

    def address_pools(self, user: User | None, tags: Iterable[str]) -> tuple[IPv4Network, ...]:
        """Where a new node of this owner gets its IPv4 address from; () = anywhere in the tailnet's range."""
        ...


class PolicyOf(Protocol):
    """The port."""

    async def __call__(self, tx: TailnetTx, etag: str | None = None) -> Approvals | None:
        """The policy as it holds in this transaction; None: the tailnet has none.

        `etag` is that of its text, from who has just read it.
        """
        ...


MEMO_BYTES = 4 << 20


class Memo:
    """The approvals that were asked for last, of whatever tailnets, by the etag of their policy's text.

    Those of texts of 4 MiB together are kept, or of one.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Approvals, int]] = OrderedDict()

    def get(self, etag: str) -> Approvals | None:
        found = self._known.get(etag)
        if found is None:
            return None
        self._known.move_to_end(etag)
        return found[0]

    def put(self, etag: str, approvals: Approvals, size: int) -> None:
        self._known[etag] = approvals, size
        self._known.move_to_end(etag)
        while len(self._known) > 1 and sum(size for _, size in self._known.values()) > MEMO_BYTES:
            self._known.popitem(last=False)


MEMO = Memo()


async def policy_of(tx: TailnetTx, etag: str | None = None) -> Approvals | None:
    """A PolicyOf: the policy of the transaction. Raises Unavailable where it cannot be carried out."""
    if etag is None:
        etag = await policies.etag_in_force(tx)
    if etag is None:
        return None
    return MEMO.get(etag) or await _read(tx, etag)


async def _read(tx: TailnetTx, etag: str) -> Approvals:
    text = await policies.text_in_force(tx)
    try:
        approvals = await apart(READS, lambda: Approvers(parse(text)))
    except Invalid:
        # Another release took it: nothing may be guessed, and whoever joins is not told what it says.
        reason = "the tailnet's policy is not understood here: an admin has to set another one"
        raise Unavailable(reason, code="policy_not_understood") from None
    if etag:
        MEMO.put(etag, approvals, len(text))
    return approvals


async def with_approved_routes(tx: TailnetTx, policy_of: PolicyOf, node: Node, user: User | None) -> Node:
    """The node with those of its advertised routes approved that the policy approves by itself."""
    if set(node.hostinfo.routable_ips) <= set(node.approved_routes):
        return node
    approvals = await policy_of(tx)
    return node if approvals is None else approved_by(approvals, node, user, await settings_row.get(tx))


def approved_by(approvals: Approvals, node: Node, user: User | None, settings: Settings) -> Node:
    """The node with what these approve; what is approved already stays so. What no admin could approve, like
    the addresses of other nodes, no policy does.
    """
    new = {text: ip_network(text) for text in {*node.hostinfo.routable_ips}.difference(node.approved_routes)}
    approved = {
        text
        for text, route in new.items()
        if approvals.approves_route(route, user, node.tags) and not objection(route, settings)
    }
    return replace(node, approved_routes=tuple(sorted({*node.approved_routes, *approved})))


async def may_have_tags(
    tx: TailnetTx, policy_of: PolicyOf, user: User | None, held: Iterable[str], wanted: Iterable[str]
) -> bool:
    approvals = await policy_of(tx)
    return approvals is not None and approvals.may_have_tags(user, held, wanted)
