"""Where the nodes of one state stand: the mask of each, and who has which bit, in buckets of 32 ids or more.

A bucket never changes; the next state's members share all those in which nothing that matters changed.
Nodes that are expired or not authorized have a mask, but are nobody's source and no destination.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, compress

from headscale_saas.policy.atoms import Atoms, indices
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId, User, UserId
from headscale_saas.tailnet.state import TailnetState

BUCKET_BITS = 5
MOST_PIECES = 16384
"""Buckets are wider than 32 ids where rules times buckets, for all ids so far, would be more."""

Addresses = tuple[str, ...]

_DIGITS = bytes.maketrans(b"01", bytes((0, 1)))


class Bucket:
    """Nodes whose ids differ only in the lowest bits, which are their places in a bitmap. `all` of them have
    one, too."""

    __slots__ = ("_bits", "_having", "_places", "_spelled", "_texts", "all", "nodes")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._places = (1 << bits) - 1
        self.all = 0
        self.nodes: dict[int, Node] = {}
        self._having: dict[int, int] = {}
        self._texts: list[Addresses] = [()] * (1 << bits)
        self._spelled: dict[int, Addresses] = {}

    def put(self, node: Node, mask: int) -> None:
        """Only while the bucket is made."""
        place = node.id & self._places
        self.all |= 1 << place
        self.nodes[place] = node
        self._texts[place] = addresses_of(node)
        for number in indices(mask):
            self._having[number] = self._having.get(number, 0) | 1 << place

    def without(self, node_ids: Iterable[NodeId]) -> "Bucket":
        """A new one, to put others in."""
        left = Bucket(self._bits)
        gone = sum(1 << (node_id & self._places) for node_id in node_ids)
        left.all = self.all & ~gone
        left.nodes = {place: node for place, node in self.nodes.items() if left.all >> place & 1}
        left._texts = list(self._texts)
        for place in indices(gone):
            left._texts[place] = ()
        having = ((number, bitmap & ~gone) for number, bitmap in self._having.items())
        left._having = {number: bitmap for number, bitmap in having if bitmap}
        return left

    def matching(self, numbers: Iterable[int]) -> int:
        """The bitmap of nodes that have any of these bits."""
        having, found = self._having, 0
        for number in numbers:
            found |= having.get(number, 0)
        return found

    def addresses(self, bitmap: int) -> Addresses:
        """All addresses of these nodes, in order of id, IPv4 first."""
        spelled = self._spelled.get(bitmap)
        if spelled is None:
            texts = chain.from_iterable(compress(self._texts, _flags(bitmap)))
            spelled = self._spelled[bitmap] = tuple(texts)
        return spelled


def _flags(bitmap: int) -> bytes:
    """A byte for each bit, from the lowest."""
    return f"{bitmap:b}"[::-1].encode().translate(_DIGITS)


class Members:
    """`masks` of all nodes by id; `of_user` has the ids of a user's own nodes, ascending; `buckets` by the id
    without its lowest `bits`. `changed` are the nodes that stood elsewhere in the former members."""

    __slots__ = ("atoms", "bits", "buckets", "changed", "masks", "of_user")

    def __init__(
        self,
        atoms: Atoms,
        masks: Mapping[NodeId, int],
        buckets: Mapping[int, Bucket],
        of_user: Mapping[UserId, tuple[NodeId, ...]],
        bits: int,
        changed: frozenset[NodeId] = frozenset(),
    ) -> None:
        self.atoms = atoms
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
        self, before: TailnetState, after: TailnetState, touched: Touched, rules: int = 0
    ) -> "Members":
        """The members of the next state; the same object if no mask, no address and no liveness changed.

        `touched` must name at least all rows in which the two states differ.
        """
        changed = self._changed(before, after, touched)
        if not changed:
            return self
        if self.bits != bits_for(rules, after):
            return members_of(self.atoms, after, rules)
        masks, owners = dict(self.masks), _Owners(self.atoms, after)
        for node_id in changed:
            node = after.nodes.get(node_id)
            if node is None:
                masks.pop(node_id, None)
            else:
                masks[node_id] = owners.mask(node)
        buckets = self._with_buckets(after, masks, changed)
        users = {row.user_id for i in changed for row in (before.nodes.get(i), after.nodes.get(i)) if row}
        of_user = _with_users(self.of_user, after, users, changed)
        return Members(self.atoms, masks, buckets, of_user, self.bits, changed)

    def _with_buckets(
        self, after: TailnetState, masks: Mapping[NodeId, int], changed: Iterable[NodeId]
    ) -> Mapping[int, Bucket]:
        """In order; none is empty."""
        concerned: dict[int, list[NodeId]] = {}
        for node_id in changed:
            concerned.setdefault(node_id >> self.bits, []).append(node_id)
        buckets = dict(self.buckets)
        for span, node_ids in concerned.items():
            bucket = buckets[span] = self.buckets.get(span, Bucket(self.bits)).without(node_ids)
            for node_id in node_ids:
                if (node := after.nodes.get(node_id)) is not None and is_live(node):
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


def bits_for(rules: int, state: TailnetState) -> int:
    """How many of the lowest bits of ids a bucket spans: more only as the highest id gets longer."""
    most = max(MOST_PIECES // max(rules, 1), 1)
    highest = max(state.nodes, default=0)
    return max(BUCKET_BITS, highest.bit_length() - most.bit_length() + 1)


def members_of(atoms: Atoms, state: TailnetState, rules: int = 0) -> Members:
    """`rules` is how many want to know their sources in each bucket."""
    bits = bits_for(rules, state)
    owners = _Owners(atoms, state)
    masks = {node_id: owners.mask(node) for node_id, node in state.nodes.items()}
    buckets: dict[int, Bucket] = {}
    of_user: dict[UserId, list[NodeId]] = {}
    for node_id, node in state.nodes.items():
        if is_live(node):
            span = node_id >> bits
            if span not in buckets:
                buckets[span] = Bucket(bits)
            buckets[span].put(node, masks[node_id])
        if node.user_id is not None:
            of_user.setdefault(node.user_id, []).append(node_id)
    owned = {user: tuple(ids) for user, ids in of_user.items()}
    return Members(atoms, masks, buckets, owned, bits, frozenset(masks))


def is_live(node: Node) -> bool:
    """Whether it takes part: else it may reach nobody, and nobody it."""
    return node.authorized and not node.expired


def addresses_of(node: Node) -> Addresses:
    return tuple(str(address) for address in (node.ipv4, node.ipv6) if address is not None)


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
