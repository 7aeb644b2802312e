"""What is encoded and compressed once and then shared by the sessions of one tailnet.

A whole netmap is put together from the class's chunks, each compressed when it is first needed, and two or
three pieces of the viewer's own. A delta is compressed once for all sessions that go from one view to
another; what is left to do for each of them is encryption.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from headscale_saas.live.cache import Snapshot
from headscale_saas.netmap import full
from headscale_saas.netmap.delta import SharedDelta, shared_delta, shared_delta_in_steps
from headscale_saas.netmap.peers import Book, Fragments
from headscale_saas.netmap.pieces import Piece, Shared, joined
from headscale_saas.netmap.telling import SharedMessage, Telling
from headscale_saas.netmap.view import ClassView, View, class_of
from headscale_saas.policy import Audience
from headscale_saas.tailcfg.capver import wire_class
from headscale_saas.tailnet.changes import Touched, union
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.state import TailnetState
from headscale_saas.wire.mapframe import KEEP_ALIVE, KEEP_ALIVE_ZSTD, compress, frame

ClassKey = tuple[Audience, int]

NOBODY = NodeId(0)

# Of so many steps back it is remembered what they touched; from further back all rows are compared.
MOST_STEPS = 64


class Passing:
    """One message for many: viewers that are not `concerned` are told `shared`, and are at `after` then."""

    __slots__ = ("_packed", "after", "concerned", "shared")

    def __init__(self, after: ClassView, shared: SharedDelta, concerned: frozenset[NodeId]) -> None:
        self.after = after
        self.shared = shared
        self.concerned = concerned
        self._packed: dict[bool, bytes] = {}

    def packed(self, *, compressed: bool) -> bytes:
        """The bytes to write; b"" if there is nothing to tell."""
        data = self._packed.get(compressed)
        if data is None:
            data = self._packed[compressed] = pack_delta(self.shared, NOBODY, compressed=compressed)
        return data


class Frames:
    """The shared frames of one tailnet at its newest snapshot, and of the steps that led to it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._fragments = Fragments()
        self._telling = Telling(self._fragments)
        self._books: dict[ClassKey, Book] = {}
        self._snapshot = snapshot
        self._steps: deque[tuple[TailnetState, Touched]] = deque(maxlen=MOST_STEPS)
        self._classes: dict[ClassKey, ClassView] = {}
        self._deltas: dict[tuple[int, int], tuple[ClassView, SharedDelta]] = {}
        self._passing: dict[int, tuple[ClassView, Passing | None]] = {}

    def advance(self, snapshot: Snapshot, touched: Touched | None) -> None:
        """From here on everything is made for this snapshot; `touched` is what the step touched, if known."""
        if touched is None:
            self._steps.clear()
        else:
            self._steps.append((self._snapshot.state, touched))
        self._snapshot = snapshot
        self._classes.clear()
        self._deltas.clear()
        self._passing.clear()
        self._telling = Telling(self._fragments)

    def view(self, node: Node) -> View:
        """The view of a node of the newest snapshot; like viewers share the class view."""
        return View(self._class(*class_of(self._snapshot.compiled, node)), node)

    def _class(self, audience: Audience, wire_class: int) -> ClassView:
        key = (audience, wire_class)
        of_class = self._classes.get(key)
        if of_class is None:
            snapshot = self._snapshot
            of_class = ClassView(snapshot.state, snapshot.compiled, snapshot.environment, *key)
            self._classes[key] = of_class
        return of_class

    def shared(self, before: ClassView, after: ClassView) -> SharedDelta:
        """The difference of two class views, computed once for all who ask."""
        known = self._deltas.get((id(before), id(after)))
        if known is None:
            # The entry holds `before`, so that its id is not given to another view meanwhile.
            known = before, shared_delta(before, after, self._narrowed(before), self._telling)
            self._deltas[id(before), id(after)] = known
        return known[1]

    def telling(self, before: ClassView, node: Node) -> Iterator[None]:
        """Computes what brings this viewer's class here, in steps of some 3 ms; nothing if it is known.

        A new policy may show everybody other peers: with 1,000 of them that is more than one slice.
        """
        snapshot, after = self._snapshot, self.view(node).of_class
        if before is after or (id(before), id(after)) in self._deltas:
            return
        touched = self._narrowed(before)
        shared = yield from shared_delta_in_steps(before, after, touched, self._telling)
        if self._snapshot is snapshot:
            self._deltas[id(before), id(after)] = before, shared
            for message in shared:
                yield from packing(message.pieces())

    def passing(self, before: ClassView) -> "Passing | None":
        """What all viewers of a class are told alike, but for those in `concerned`.

        None where the step may have changed what any of them is told of itself: then each is compared.
        """
        known = self._passing.get(id(before))
        if known is None:
            known = self._passing[id(before)] = before, self._find_passing(before)
        return known[1]

    def _find_passing(self, before: ClassView) -> "Passing | None":
        snapshot, touched = self._snapshot, self._narrowed(before)
        moved = snapshot.compiled.moved_since(before.compiled)
        are_settings_same = before.state.tailnet.settings is snapshot.state.tailnet.settings
        if touched is None or moved is None or not are_settings_same:
            return None
        after = self._class(before.audience, before.wire_class)
        shared = self.shared(before, after)
        concerned = touched.nodes.union(moved, *(message.mentions for message in shared))
        if touched.users:
            owned = (node.id for node in snapshot.state.nodes.values() if node.user_id in touched.users)
            concerned = concerned.union(owned)
        return Passing(after, shared, concerned)

    def warming(self, node: Node, *, peers: bool = True) -> Iterator[None]:
        """Encodes the peers that the first netmap of the node's class needs, some at a step, and what else
        its class is told; nothing where that is done.

        A thousand take 70 ms, which would be one step of the netmap.
        """
        view = self.view(node)
        if peers and _book_key(view) not in self._books:
            yield from self._fragments.warming(view.of_class)
        book = self._book(view)
        yield from book.warming(view.of_class)
        yield from packing(book.rest)

    def book(self, view: View) -> Book:
        """The chunks of the view's class. One that was used before is turned to the view."""
        book = self._book(view)
        if book.view is not None:
            book.turn_to(view.of_class, self._narrowed(book.view))
        return book

    def _book(self, view: View) -> Book:
        key = _book_key(view)
        if key not in self._books:
            self._books[key] = Book(self._fragments)
        return self._books[key]

    def forget_books(self) -> None:
        """Gives back what only whole netmaps need; the next one of a class takes some milliseconds more."""
        self._books.clear()

    def _narrowed(self, before: ClassView) -> Touched | None:
        """What the steps since that view touched; None if that is not known (any more)."""
        touched: list[Touched] = []
        for state, step in reversed(self._steps):
            touched.append(step)
            if state is before.state:
                return union(touched)
        return None


def _book_key(view: View) -> ClassKey:
    return view.of_class.audience, wire_class(view.viewer.capver)


def pack_delta(delta: SharedDelta, viewer: NodeId, *, compressed: bool) -> bytes:
    """Ready to be written; only who is mentioned in a message gets a copy of its own."""
    return b"".join(_pack_message(message, viewer, compressed=compressed) for message in delta)


def _pack_message(message: SharedMessage, viewer: NodeId, *, compressed: bool) -> bytes:
    if viewer in message.mentions:
        pieces = message.pieces(without=viewer)
        return pack(pieces, compressed=compressed) if pieces else b""
    if not compressed:
        return frame(message.text())
    if message.packed is None:
        message.packed = pack(message.pieces(), compressed=True)
    return message.packed


def pack(pieces: Iterable[Piece], *, compressed: bool) -> bytes:
    """One message from pieces; shared ones are compressed once."""
    if not compressed:
        return frame(joined(pieces))
    return frame(b"".join(_packed(p) if isinstance(p, Shared) else compress(p) for p in pieces))


def pack_one(message: bytes, *, compressed: bool) -> bytes:
    """One message for one session."""
    if message is full.KEEP_ALIVE:
        return KEEP_ALIVE_ZSTD if compressed else KEEP_ALIVE
    return frame(compress(message) if compressed else message)


def packing(pieces: Iterable[Piece]) -> Iterator[None]:
    """Compresses the shared ones, one at a step; `pack` then finds them."""
    for piece in pieces:
        if isinstance(piece, Shared) and piece.is_first not in piece.chunk.packed:
            _packed(piece)
            yield


def _packed(piece: Shared) -> bytes:
    packed = piece.chunk.packed.get(piece.is_first)
    if packed is None:
        packed = piece.chunk.packed[piece.is_first] = compress(piece.text)
    return packed
