"""One map stream, sans-IO: what it was sent, and what is due.

The driver asks `next_messages` when the tailnet moved and the stream can take more, and `tick` when the
deadline has come. A stream that cannot take more is simply not asked: later the difference is larger.
"""

from collections.abc import Callable
from datetime import datetime
from math import inf

from headscale_saas.netmap.delta import SharedDelta, own_delta
from headscale_saas.netmap.full import KEEP_ALIVE, full_pieces
from headscale_saas.netmap.peers import Book
from headscale_saas.netmap.pieces import Piece
from headscale_saas.netmap.view import ClassView, View
from headscale_saas.tailnet.model import NodeId

KEEP_ALIVE_SECONDS = 50.0

Sharing = Callable[[ClassView, ClassView], SharedDelta]
"""Gives the shared delta between two class views, computed once for all who ask."""


class MapSession:
    """`sent` is the view the client has, None before the first message. A keep-alive is due at `deadline`.

    `now` and `jitter` (0 to 8) are seconds of the driver's clock.
    """

    __slots__ = ("deadline", "node_id", "sent", "wants_keep_alive")

    def __init__(self, node_id: NodeId, *, wants_keep_alive: bool = True) -> None:
        self.node_id = node_id
        self.wants_keep_alive = wants_keep_alive
        self.sent: View | None = None
        self.deadline = inf

    def first_message(self, view: View, book: Book, wall: datetime, now: float, jitter: float) -> list[Piece]:
        """The whole netmap. `wall` is the time that the client is told."""
        self._sent(view, now, jitter)
        return full_pieces(view, book, wall)

    def next_messages(
        self, view: View, sharing: Sharing, now: float, jitter: float
    ) -> tuple[bytes | None, SharedDelta]:
        """What brings the client to `view`: a message of its own, then what its class is told.

        Of the latter, a message that mentions this node must be sent without it.
        """
        before = self.sent
        if before is None:
            raise ValueError("the first message was not asked for")
        own = own_delta(before, view)
        shared = sharing(before.of_class, view.of_class)
        if own is None and not shared:
            self.sent = view
        else:
            self._sent(view, now, jitter)
        return own, shared

    def pass_on(self, of_class: ClassView, now: float, jitter: float | None) -> None:
        """The client was told, or need not be told, what brings its class here; its own row is the same.

        `jitter` None: nothing was sent.
        """
        if self.sent is None:
            raise ValueError("the first message was not asked for")
        view = View(of_class, self.sent.viewer)
        if jitter is None:
            self.sent = view
        else:
            self._sent(view, now, jitter)

    def tick(self, now: float, jitter: float) -> bytes | None:
        """A keep-alive, if one is due."""
        if self.sent is None or now < self.deadline:
            return None
        self._sent(self.sent, now, jitter)
        return KEEP_ALIVE

    def _sent(self, view: View, now: float, jitter: float) -> None:
        self.sent = view
        self.deadline = now + KEEP_ALIVE_SECONDS + jitter if self.wants_keep_alive else inf
