"""Where the nodes of one state stand: the mask of each, and who has which bit, in buckets of 32 ids or more.

A bucket never changes; the next state's members share all those in which nothing that matters changed.
Nodes that are expired or not authorized have a mask, but are nobody's source and no destination. Where
filters are full, later nodes are nobody's source, either.
"""

from collections.abc import Iterable, Iterator, Mapping

from headscale_saas.policy.atoms import Atoms, indices
from headscale_saas.policy.buckets import Bucket, bits_for
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId, User, UserId
from headscale_saas.tailnet.state import TailnetState


class Members:
    """`masks` of all nodes by id; `of_user` has the ids of a user's own nodes, ascending; `buckets` by the id
    without its lowest `bits`. `changed` are the nodes that stood elsewhere in the former members. Nodes with
    higher ids than `newest` are in no bucket (None: there is room for all)."""

    __slots__ = ("atoms", "bits", "buckets", "changed", "masks", "newest", "of_user")

    def __init__(
        self,
        atoms: Atoms,
        masks: Mapping[NodeId, int],
        buckets: Mapping[int, Bucket],
        of_user: Mapping[UserId, tuple[NodeId, ...]],
        bits: int,
        changed: frozenset[NodeId] = frozenset(),
        newest: NodeId | None = None,
    ) -> None:
        self.atoms = atoms
        self.newest = newest
        self.bits = bits
        self.changed = changed
        self.masks = masks
        self.buckets = buckets
        self.of_user = of_user

    def matching(self, mask: int, postures: int = 0) -> Iterator[Node]:
        """The nodes, in order of id, that have any bit of the mask and any of the postures (0 = no matter).

        The rows are as they were when the members changed last: addresses, owner and tags are right.
        """
        wanted, required = tuple(indices(mask)), tuple(indices(postures))
        for bucket in self.buckets.values():
            bitmap = bucket.matching(wanted)
            if bitmap and postures:
                bitmap &= bucket.matching(required)
            for place in indices(bitmap):
                yield bucket.nodes[place]

    def of_bucket(self, node_id: NodeId) -> tuple[Bucket | None, int]:
        """The bucket with a node, and its bit there."""
        return self.buckets.get(node_id >> self.bits), 1 << (node_id & ((1 << self.bits) - 1))

    def advanced(
        self,
        before: TailnetState,
        after: TailnetState,
        touched: Touched,
        rules: int = 0,
        newest: NodeId | None = None,
    ) -> "Members":
        """The members of the next state; the same object if no mask, no address and no liveness changed.

        `touched` must name at least all rows in which the two states differ.
        """
        changed = self._changed(before, after, touched) | self._let_in(after, newest)
        if not changed and newest == self.newest:
            return self
        if self.bits != bits_for(rules, after):
            return members_of(self.atoms, after, rules, newest)
        masks, owners = dict(self.masks), _Owners(self.atoms, after)
        for node_id in changed:
            node = after.nodes.get(node_id)
            if node is None:
                masks.pop(node_id, None)
            else:
                masks[node_id] = owners.mask(node)
        buckets = self._with_buckets(after, masks, changed, newest)
        users = {row.user_id for i in changed for row in (before.nodes.get(i), after.nodes.get(i)) if row}
        of_user = _with_users(self.of_user, after, users, changed)
        return Members(self.atoms, masks, buckets, of_user, self.bits, changed, newest)

    def _let_in(self, after: TailnetState, newest: NodeId | None) -> frozenset[NodeId]:
        """The nodes that there was no room for, and now is."""
        if self.newest is None or self.newest == newest:
            return frozenset()
        left_out = (node_id for node_id in after.nodes if node_id > self.newest)
        return frozenset(node_id for node_id in left_out if newest is None or node_id <= newest)

    def _with_buckets(
        self,
        after: TailnetState,
        masks: Mapping[NodeId, int],
        changed: Iterable[NodeId],
        newest: NodeId | None,
    ) -> Mapping[int, Bucket]:
        """In order; none is empty."""
        concerned: dict[int, list[NodeId]] = {}
        for node_id in changed:
            concerned.setdefault(node_id >> self.bits, []).append(node_id)
        buckets = dict(self.buckets)
        for span, node_ids in concerned.items():
            bucket = buckets[span] = self.buckets.get(span, Bucket(self.bits)).without(node_ids)
            for node_id in node_ids:
                if (node := after.nodes.get(node_id)) is not None and _is_let_in(node, newest):
                    bucket.put(node, masks[node_id])
            if not bucket.all:
                del buckets[span]
        return buckets if buckets.keys() <= self.buckets.keys() else dict(sorted(buckets.items()))

    def _changed(self, before: TailnetState, after: TailnetState, touched: Touched) -> frozenset[NodeId]:
        """The nodes that stand elsewhere now."""
        moved = {i for i in touched.nodes if self._is_moved(before.nodes.get(i), after.nodes.get(i))}
        for user_id in touched.users:
            user = after.users.get(user_id)
            if user is not before.users.get(user_id):
                moved.update(i for i in self.of_user.get(user_id, ()) if self._is_other(after, i, user))
        return frozenset(moved)

    def _is_moved(self, old: Node | None, new: Node | None) -> bool:
        if old is new:
            return False
        if old is None or new is None:
            return True
        return _standing(old) != _standing(new) or (
            self.atoms.has_postures and self.atoms.place(old) != self.atoms.place(new)
        )

    def _is_other(self, after: TailnetState, node_id: NodeId, owner: User | None) -> bool:
        node = after.nodes.get(node_id)
        return node is None or self.atoms.mask(node, owner) != self.masks[node_id]


def members_of(atoms: Atoms, state: TailnetState, rules: int = 0, newest: NodeId | None = None) -> Members:
    """`rules` is how many want to know their sources in each bucket."""
    bits = bits_for(rules, state)
    owners = _Owners(atoms, state)
    masks = {node_id: owners.mask(node) for node_id, node in state.nodes.items()}
    buckets: dict[int, Bucket] = {}
    of_user: dict[UserId, list[NodeId]] = {}
    for node_id, node in state.nodes.items():
        if _is_let_in(node, newest):
            span = node_id >> bits
            if span not in buckets:
                buckets[span] = Bucket(bits)
            buckets[span].put(node, masks[node_id])
        if node.user_id is not None:
            of_user.setdefault(node.user_id, []).append(node_id)
    owned = {user: tuple(ids) for user, ids in of_user.items()}
    return Members(atoms, masks, buckets, owned, bits, frozenset(masks), newest)


def is_live(node: Node) -> bool:
    """Whether it takes part: else it may reach nobody, and nobody it."""
    return node.authorized and not node.expired


def _is_let_in(node: Node, newest: NodeId | None) -> bool:
    return is_live(node) and (newest is None or node.id <= newest)


class _Owners:
    """Masks of one state's nodes; what a user's nodes have in common is looked up once."""

    def __init__(self, atoms: Atoms, state: TailnetState) -> None:
        self._atoms = atoms
        self._users = state.users
        self._known: dict[UserId | tuple[str, ...], int] = {}

    def mask(self, node: Node) -> int:
        owner = node.tags if node.user_id is None else node.user_id
        identity = self._known.get(owner)
        if identity is None:
            user = None if node.user_id is None else self._users.get(node.user_id)
            identity = self._known[owner] = self._atoms.identity(node.tags, user)
        return identity | self._atoms.place(node)


def _standing(node: Node) -> tuple[object, ...]:
    return node.user_id, node.tags, node.ipv4, node.ipv6, is_live(node)


def _with_users(
    of_user: Mapping[UserId, tuple[NodeId, ...]],
    after: TailnetState,
    users: Iterable[UserId | None],
    changed: frozenset[NodeId],
) -> Mapping[UserId, tuple[NodeId, ...]]:
    result = dict(of_user)
    for user_id in users:
        if user_id is not None:
            ids = changed.union(of_user.get(user_id, ()))
            owned = (i for i in sorted(ids) if (row := after.nodes.get(i)) and row.user_id == user_id)
            result[user_id] = tuple(owned)
    return result
