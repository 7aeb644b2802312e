"""One map stream of one node: the sans-IO session, and the stream it is written to."""

from collections.abc import Callable
from typing import Protocol

from headscale_saas.live.presence import Stream as PresenceStream
from headscale_saas.netmap.session import MapSession as Conversation
from headscale_saas.tailcfg.keys import NodeKey
from headscale_saas.tailnet.model import NodeId


class ByteStream(Protocol):
    """The answer of a long poll, as the transport gives it.

    `write` takes all or nothing; False means that the stream is closed, or that what was written before is
    not on its way yet: then `on_writable` is called when it is.
    """

    on_close: Callable[[], None] | None
    on_writable: Callable[[], None] | None

    @property
    def closed(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    def write(self, data: bytes) -> bool: ...
    def end(self) -> None: ...


class MapSession(Conversation):
    """As small as can be: there are thousands in a process.

    `is_queued`: it waits for its turn to be brought to the newest snapshot. `is_over`: it was closed, maybe
    before its stream began, which then shall not begin.
    """

    __slots__ = ("compressed", "is_over", "is_queued", "node_key", "presence", "stream")

    def __init__(
        self, node_id: NodeId, node_key: NodeKey, stream: ByteStream, *, compressed: bool, keep_alive: bool
    ) -> None:
        super().__init__(node_id, wants_keep_alive=keep_alive)
        self.node_key = node_key
        self.stream = stream
        self.compressed = compressed
        self.is_queued = self.is_over = False
        self.presence: PresenceStream | None = None

    def close(self) -> None:
        """Ends the stream; the client comes back and starts afresh."""
        self.is_over = True
        if not self.stream.closed:
            self.stream.end()
