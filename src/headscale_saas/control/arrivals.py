"""Nodes that registered here just now: their first map request follows at once, before a cache has them."""

from collections.abc import Callable

from headscale_saas.store.directory import NodeRef
from headscale_saas.tailcfg.keys import NodeKey

FRESH_SECONDS = 5.0
"""Less than it takes to rotate a key or move a device: what was true at the registration still is."""
MOST = 4096


class Arrivals:
    """`now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._refs: dict[NodeKey, tuple[float, NodeRef]] = {}

    def note(self, ref: NodeRef) -> None:
        """The node registered with this key; sent twice, the later version counts. Past 4,096 the oldest is
        forgotten."""
        _, before = self._refs.pop(ref.node_key, (0.0, None))
        if before is not None and before.node == ref.node and before.version > ref.version:
            ref = before
        if len(self._refs) >= MOST:
            del self._refs[next(iter(self._refs))]
        self._refs[ref.node_key] = self._now(), ref

    def take(self, key: NodeKey) -> NodeRef | None:
        """Whose key this is, once; None: the directory has to be asked."""
        noted_at, ref = self._refs.pop(key, (0.0, None))
        return ref if self._now() - noted_at <= FRESH_SECONDS else None
