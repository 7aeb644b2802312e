"""What many classes of viewers are told alike in one step, computed once for all of them.

With a policy there may be a class for every few nodes, and most of them see a change in the same form.
"""

from typing import NamedTuple

from headscale_saas.netmap.members import Members, inside
from headscale_saas.netmap.patch import Way, disco_patch, needs_disco_patch, patches, way
from headscale_saas.netmap.peers import Facts, Fragments, facts_of, row_of
from headscale_saas.netmap.pieces import LONG, Chunk, Piece, Shared, append_chunks, cut, joined
from headscale_saas.netmap.view import ClassView
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.maps import PeerChange
from headscale_saas.tailcfg.node import Node as WireNode
from headscale_saas.tailnet.model import Node, NodeId

CHUNK_ITEMS = 64

Items = dict[NodeId, bytes]


class Change(NamedTuple):
    """How a peer's change is told. `patch` b"": no patch is needed."""

    how: Way
    patch: bytes = b""
    is_of_other_user: bool = False


UNCHANGED = Change(Way.SAME)


class SharedMessage:
    """One message to a class of viewers. Those in `mentions` must be given theirs `without` themselves.

    `packed` is room for the caller's compressed form of the whole.
    """

    __slots__ = ("_arrays", "_long", "_members", "mentions", "packed")

    def __init__(self, arrays: dict[str, Items], members: Members) -> None:
        self._arrays = {name: _chunks(items) for name, items in arrays.items() if items}
        self._members = inside(members)
        # Who is mentioned gets a copy of his own, but not of what takes long to compress.
        self._long: list[Shared] = cut(self._members) if len(self._members) > LONG else []
        self.mentions = frozenset(node_id for items in arrays.values() for node_id in items)
        self.packed: bytes | None = None

    def pieces(self, without: NodeId | None = None) -> list[Piece]:
        """The message; [] if nothing remains of it. Small ones are a single private piece."""
        pieces: list[Piece] = []
        joint = b"{"
        for name, chunks in self._arrays.items():
            items: list[Piece] = []
            if append_chunks(items, chunks, without):
                pieces += [joint + b'"' + name.encode() + b'":[', *items]
                joint = b"],"
        if self._long:
            return [*pieces, joint, *self._long, b"}"]
        if not pieces:
            return [b"{" + self._members + b"}"] if self._members else []
        pieces.append(joint + self._members + b"}" if self._members else b"]}")
        return pieces if len(self.mentions) > CHUNK_ITEMS else [joined(pieces)]

    def text(self, without: NodeId | None = None) -> bytes:
        """The message as one JSON object; b"" if nothing remains of it."""
        return joined(self.pieces(without))


class Telling:
    """A cache of one step to a new state: dropping it costs only time. `fragments` outlive it."""

    __slots__ = ("_changes", "_messages", "fragments")

    def __init__(self, fragments: Fragments) -> None:
        self.fragments = fragments
        self._changes: dict[NodeId, tuple[Node, Node, dict[tuple[Facts, Facts], Change]]] = {}
        self._messages: dict[tuple[object, ...], SharedMessage] = {}

    def change(self, before: ClassView, was: Node, after: ClassView, now: Node) -> Change:
        """How viewers who saw the one are told of the other."""
        facts = facts_of(before, was), facts_of(after, now)
        if was is now and facts[0] == facts[1]:
            return UNCHANGED
        entry = self._changes.get(now.id)
        if entry is None or entry[0] is not was or entry[1] is not now:
            entry = self._changes[now.id] = (was, now, {})
        known = entry[2].get(facts)
        if known is None:
            known = entry[2][facts] = _change(row_of(before, was), row_of(after, now))
        return known

    def message(self, arrays: dict[str, Items], members: Members) -> SharedMessage:
        """One object for messages of equal text, so that it is compressed once. Long ones are not kept."""
        if sum(map(len, members.values())) > LONG:
            return SharedMessage(arrays, members)
        text = *(tuple(items.values()) for items in arrays.values()), *members.items()
        known = self._messages.get(text)
        if known is None:
            known = self._messages[text] = SharedMessage(arrays, members)
        return known


def _change(was: WireNode, now: WireNode) -> Change:
    how = way(was, now)
    if how is Way.PATCH:
        return Change(how, _encoded(patches(was, now)))
    has_disco_patch = how is Way.WHOLE and needs_disco_patch(was, now)
    patch = _encoded([disco_patch(now)]) if has_disco_patch else b""
    return Change(how, patch, was.user != now.user)


def _encoded(changes: list[PeerChange]) -> bytes:
    return b",".join(encode(change) for change in changes)


def _chunks(items: Items) -> list[Chunk]:
    """Without an opening of their own: the array's name stands before them."""
    pairs = list(items.items())
    spans = range(0, len(pairs), CHUNK_ITEMS)
    return [Chunk(b"", dict(pairs[i : i + CHUNK_ITEMS])) for i in spans]
