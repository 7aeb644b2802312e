"""Which rows a change touched: pointers, never payloads.

A log row says "version 41 touched nodes 7 and 9". What they look like is read from the tables.
"""

from collections.abc import Iterable

import msgspec

from headscale_saas.tailnet.model import NodeId, UserId


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """What one version, or several together, touched. A row that is gone afterwards was deleted."""

    nodes: frozenset[NodeId] = frozenset()
    users: frozenset[UserId] = frozenset()
    settings: bool = False
    policy: bool = False

    @property
    def nothing(self) -> bool:
        return not (self.nodes or self.users or self.settings or self.policy)


NOTHING = Touched()


def union(parts: Iterable[Touched]) -> Touched:
    """Everything that any of the parts touched."""
    parts = list(parts)
    return Touched(
        nodes=frozenset().union(*(part.nodes for part in parts)),
        users=frozenset().union(*(part.users for part in parts)),
        settings=any(part.settings for part in parts),
        policy=any(part.policy for part in parts),
    )
