"""One map stream of one node, as small as can be: there are thousands in a process."""

from collections.abc import Callable, Hashable
from typing import Protocol

from headscale_saas.live.presence import Stream as PresenceStream
from headscale_saas.tailcfg.keys import NodeKey
from headscale_saas.tailnet.model import NodeId


class ByteStream(Protocol):
    """The answer of a long poll, as the transport gives it."""

    on_close: Callable[[], None] | None
    on_writable: Callable[[], None] | None

    @property
    def closed(self) -> bool: ...
    def write(self, data: bytes) -> bool: ...
    def end(self) -> None: ...
    def reset(self) -> None: ...


class MapSession:
    """`needs_full`: what it was sent is unknown or too old; the next message must be a whole netmap.

    `audience` and `wire_class` name the shared frames it takes; both belong to what it was sent last.
    """

    __slots__ = (
        "audience",
        "capver",
        "compress",
        "keep_alive",
        "needs_full",
        "node_id",
        "node_key",
        "presence",
        "stream",
        "turn",
        "waits_for_full",
        "wire_class",
    )

    def __init__(
        self,
        node_id: NodeId,
        node_key: NodeKey,
        stream: ByteStream,
        *,
        capver: int,
        wire_class: int,
        compress: bool,
        keep_alive: bool,
    ) -> None:
        self.node_id = node_id
        self.node_key = node_key
        self.stream = stream
        self.capver = capver
        self.wire_class = wire_class
        self.compress = compress
        self.keep_alive = keep_alive
        self.audience: Hashable = None
        self.needs_full = True
        self.waits_for_full = False
        self.turn = 0  # at which second of the keep-alive round it is due
        self.presence: PresenceStream | None = None

    def close(self) -> None:
        """Ends the stream; the client comes back and starts afresh."""
        if not self.stream.closed:
            self.stream.end()
