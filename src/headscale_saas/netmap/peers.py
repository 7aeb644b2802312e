"""Peers as JSON, encoded once: a fragment per peer, and chunks of fragments that many netmaps contain.

A chunk of a book holds the peers whose ids fall into one span of 64, so that a change or a departure touches
one chunk and never moves the others.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

from headscale_saas.netmap.identity import peer_profile, peer_user
from headscale_saas.netmap.members import class_facts, class_members_in_steps, inside, same
from headscale_saas.netmap.pieces import Chunk, Shared, cut, finished
from headscale_saas.netmap.rows import peer_row
from headscale_saas.netmap.view import ClassView
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.node import Node as WireNode
from headscale_saas.tailcfg.node import UserProfile
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId, User, UserId

SPAN_BITS = 6

Facts = tuple[object, ...]


class Fragments:
    """The JSON of peers and profiles of one tailnet, by row object. A cache: dropping it costs only time."""

    __slots__ = ("_peers", "_profiles")

    def __init__(self) -> None:
        self._peers: dict[NodeId, tuple[Node, dict[Facts, bytes]]] = {}
        self._profiles: dict[UserId, tuple[User | None, bytes]] = {}

    def peer(self, view: ClassView, node: Node) -> bytes:
        entry = self._peers.get(node.id)
        if entry is None or entry[0] is not node:
            entry = self._peers[node.id] = (node, {})
        facts = facts_of(view, node)
        fragment = entry[1].get(facts)
        if fragment is None:
            fragment = entry[1][facts] = encode(row_of(view, node))
        return fragment

    def profile(self, view: ClassView, user_id: UserId) -> bytes:
        row = view.state.users.get(user_id)
        entry = self._profiles.get(user_id)
        if entry is None or entry[0] is not row:
            entry = self._profiles[user_id] = (row, encode(profile_of(view, user_id)))
        return entry[1]

    def warming(self, view: ClassView) -> Iterator[None]:
        """Encodes all peers of the view, with a pause after every 64 (some 2 ms); a Book then finds them."""
        for count, node_id in enumerate(view.peers(), 1):
            if (node := view.visible(node_id)) is not None:
                self.peer(view, node)
            if count % (1 << SPAN_BITS) == 0:
                yield

    def forget(self, node_ids: Iterable[NodeId]) -> None:
        """Drops rows that are gone."""
        for node_id in node_ids:
            self._peers.pop(node_id, None)


def row_of(view: ClassView, node: Node) -> WireNode:
    """The peer as this class of viewers is told."""
    compiled, audience = view.compiled, view.audience
    routes = compiled.peer_routes(audience, node)
    attributes, hides_ipv4 = compiled.peer_attributes(audience, node), compiled.hides_ipv4(audience, node)
    return peer_row(node, view.state.tailnet.settings, routes, attributes, hides_ipv4=hides_ipv4)


def profile_of(view: ClassView, user_id: UserId) -> UserProfile:
    return peer_profile(view.state, user_id)


def changed_nodes(before: ClassView, after: ClassView, touched: Touched | None = None) -> list[NodeId]:
    """All nodes that may look different to the class, in order of id.

    `touched`, if given, narrows the search; it must name at least every row that differs.
    """
    old, new = before.state.nodes, after.state.nodes
    moved = after.compiled.moved_since(before.compiled)
    if moved is None or not _is_same_class(before, after):
        return sorted({*before.peers(), *after.peers()})
    if touched is not None:
        return sorted(moved | touched.nodes)
    if old is new:
        return sorted(moved)
    changed = {node_id for node_id, node in new.items() if old.get(node_id) is not node}
    return sorted(moved | changed | (old.keys() - new.keys()))


class Book:
    """All that a class of viewers is told, in chunks; it follows the class. `rest` are all other members."""

    __slots__ = ("_facts", "_fragments", "_peers", "_profiles", "_users", "rest", "view")

    def __init__(self, fragments: Fragments) -> None:
        self._fragments = fragments
        self.view: ClassView | None = None
        self._peers: dict[int, tuple[Chunk, frozenset[UserId]]] = {}
        self._profiles: dict[int, Chunk] = {}
        self._users: frozenset[UserId] = frozenset()
        self._facts: tuple[object, ...] = ()
        self.rest: Sequence[Shared] = ()

    def turn_to(self, view: ClassView, touched: Touched | None = None) -> None:
        """Makes the chunks those of this view; only those with a changed row are made anew."""
        before = self.view
        if before is view:
            return
        changed = view.peers() if before is None else changed_nodes(before, view, touched)
        for span, ids in _by_span(changed).items():
            self._renew_peers(view, span, ids)
        users = frozenset[UserId]().union(*(users for _, users in self._peers.values()))
        if users != self._users or before is None or before.state.users is not view.state.users:
            self._users = users
            self._renew_profiles(view)
        finished(self.warming(view))
        self.view = view

    def warming(self, view: ClassView) -> Generator[None, None, None]:
        """Makes `rest`, in steps: the packet filter may be long."""
        if not same(facts := class_facts(view), self._facts):
            members = yield from class_members_in_steps(view)
            self._facts = facts
            self.rest = cut(b"{" + inside(members) + b",")

    @property
    def peers(self) -> Sequence[Chunk]:
        """In order of id; none is empty."""
        return [self._peers[span][0] for span in sorted(self._peers)]

    @property
    def profiles(self) -> Sequence[Chunk]:
        """Of all users behind the peers."""
        return [self._profiles[span] for span in sorted(self._profiles)]

    def _renew_peers(self, view: ClassView, span: int, ids: Sequence[NodeId]) -> None:
        """`ids` are those of the span that may look different."""
        known = self._peers.get(span)
        items = dict(known[0].items) if known is not None else {}
        for node_id in ids:
            if (node := view.visible(node_id)) is not None:
                items[node_id] = self._fragments.peer(view, node)
            else:
                items.pop(node_id, None)
        self._fragments.forget(node_id for node_id in ids if node_id not in view.state.nodes)
        if not items:
            self._peers.pop(span, None)
        elif known is None or known[0].items != items:
            users = frozenset(peer_user(view.state.nodes[NodeId(number)]) for number in items)
            self._peers[span] = (Chunk(b'"Peers":[', dict(sorted(items.items()))), users)

    def _renew_profiles(self, view: ClassView) -> None:
        spans: dict[int, dict[int, bytes]] = {}
        for user_id in sorted(self._users):
            spans.setdefault(user_id >> SPAN_BITS, {})[user_id] = self._fragments.profile(view, user_id)
        known = self._profiles
        self._profiles = {
            span: chunk
            if (chunk := known.get(span)) is not None and chunk.items == items
            else Chunk(b'],"UserProfiles":[', items)
            for span, items in spans.items()
        }


def _by_span(ids: Iterable[NodeId]) -> Mapping[int, Sequence[NodeId]]:
    spans: dict[int, list[NodeId]] = {}
    for node_id in ids:
        spans.setdefault(node_id >> SPAN_BITS, []).append(node_id)
    return spans


def facts_of(view: ClassView, node: Node) -> Facts:
    """All that the peer's form depends on besides its row."""
    compiled, audience = view.compiled, view.audience
    return view.wire_class, view.state.tailnet.settings.base_domain, compiled.aspect(audience, node)


def _is_same_class(before: ClassView, after: ClassView) -> bool:
    return (
        before.audience == after.audience
        and before.wire_class == after.wire_class
        and before.state.tailnet.settings.base_domain == after.state.tailnet.settings.base_domain
    )
