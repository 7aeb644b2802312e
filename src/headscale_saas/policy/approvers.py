"""What a policy decides about writes: who may take which tag, which routes need no admin, where addresses are
taken from. Needs no nodes: an owner (a user, or tags) is enough.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network

import msgspec

from headscale_saas.policy import spans
from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.selectors import Kind, Selector
from headscale_saas.policy.spans import Span
from headscale_saas.tailnet.model import IPNetwork, Role, User
from headscale_saas.tailnet.routes import EXIT_ROUTES

TAG_ADMINS = frozenset({Role.OWNER, Role.ADMIN, Role.NETWORK_ADMIN})
"""Whose role lets them apply every tag that is defined."""


class _Approver(msgspec.Struct, frozen=True, gc=False):
    span: Span
    mask: int


class Approvers:
    """The approvals of one document; a pure `actions.approvals.Approvals`."""

    def __init__(self, document: Document) -> None:
        self._atoms = Atoms(document, _selectors(document))
        self._tag_owners = document.tag_owners
        self._owners: dict[str, int] = {}
        self._exit_nodes = self._atoms.bits(document.exit_node_approvers)
        self._routes = [
            _Approver(spans.span(entry.prefix), self._atoms.bits(entry.approvers))
            for entry in document.route_approvers
        ]
        self._pools = [
            (self._atoms.bits(entry.targets), entry.ip_pools)
            for entry in document.node_attrs
            if entry.ip_pools
        ]

    def has_tag(self, tag: str) -> bool:
        return tag in self._tag_owners

    def may_have_tags(self, user: User | None, held: Iterable[str], wanted: Iterable[str]) -> bool:
        """A tag may be applied by those who own it, or own a tag that owns it, and so on; by one who holds
        such a tag, or the tag itself; and by admins.
        """
        held = tuple(held)
        mask = self._identity(user, held)
        is_admin = user is not None and user.role in TAG_ADMINS
        return all(
            self.has_tag(tag) and (is_admin or tag in held or bool(mask & self._owners_of(tag)))
            for tag in wanted
        )

    def _owners_of(self, tag: str) -> int:
        """Found when first asked for: of a long chain of tags, all together would take forever."""
        if tag not in self._owners:
            self._owners[tag] = self._atoms.bits(_all_owners(tag, self._tag_owners))
        return self._owners[tag]

    def approves_route(self, route: IPNetwork, user: User | None, tags: Iterable[str]) -> bool:
        """Any entry around the route counts, not only the narrowest; but none speaks for exit routes."""
        mask = self._mask(user, tags)
        if str(route) in EXIT_ROUTES:
            return bool(mask & self._exit_nodes)
        low, high = spans.span(route)
        return any(
            mask & entry.mask and entry.span[0] <= low and high <= entry.span[1] for entry in self._routes
        )

    @property
    def has_address_pools(self) -> bool:
        """Whether there are nodes that get their address from a pool."""
        return bool(self._pools)

    def address_pools(self, user: User | None, tags: Iterable[str]) -> tuple[IPv4Network, ...]:
        """Where a new node of this owner gets its IPv4 address from, in the file's order; () = anywhere."""
        mask = self._mask(user, tags)
        pools = (pool for targets, entry in self._pools if mask & targets for pool in entry)
        return tuple(dict.fromkeys(pools))

    def _mask(self, user: User | None, tags: Iterable[str]) -> int:
        """Of a node: its tags replace its user."""
        return self._atoms.identity(tuple(tags), user)

    def _identity(self, user: User | None, held: tuple[str, ...]) -> int:
        """Of a credential: it may have both."""
        mask = self._atoms.identity((), user) if user is not None else 0
        return mask | (self._atoms.identity(held, None) if held else 0)


def _all_owners(tag: str, tag_owners: Mapping[str, tuple[Selector, ...]]) -> set[Selector]:
    """Those of the tag, those of the tags among them, and so on; circles add nobody."""
    found = set(tag_owners[tag])
    unread = list(found)
    while unread:
        owner = unread.pop()
        more = set(tag_owners.get(owner.name, ())) - found if owner.kind is Kind.TAG else set()
        found |= more
        unread.extend(more)
    return found


def _selectors(document: Document) -> Iterator[Selector]:
    for owners in document.tag_owners.values():
        yield from owners
    for approver in document.route_approvers:
        yield from approver.approvers
    yield from document.exit_node_approvers
    for entry in document.node_attrs:
        if entry.ip_pools:
            yield from entry.targets
