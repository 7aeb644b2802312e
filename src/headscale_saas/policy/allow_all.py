"""The policy of a tailnet without one: everyone may reach everyone, and nothing else is granted."""

from collections.abc import Hashable, Sequence
from datetime import timedelta
from types import MappingProxyType

from headscale_saas.policy.compiled import Audience, Compiled, Filters
from headscale_saas.policy.language.document import PolicyRelays
from headscale_saas.tailcfg.filters import FilterRule, NetPortRange
from headscale_saas.tailcfg.node import CapMap
from headscale_saas.tailcfg.ssh import SSHPolicy
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.routes import Served, may_change_routes, served_routes
from headscale_saas.tailnet.state import TailnetState

EVERYTHING = "everything"
NOTHING = "nothing"

# "*" and not the members' addresses: so that a join changes nobody's filter.
OPEN: Filters = MappingProxyType({"base": (FilterRule(src_ips=("*",), dst_ports=(NetPortRange(),)),)})
CLOSED: Filters = MappingProxyType({"base": ()})
NO_SSH = SSHPolicy()


class AllowAll:
    """Keeps only what depends on the state: who serves which route."""

    __slots__ = ("_served",)

    def __init__(self, served: Served) -> None:
        self._served = served

    def audience(self, node: Node) -> Audience:
        return NOTHING if node.expired or not node.authorized else EVERYTHING

    def peers(self, audience: Audience) -> Sequence[NodeId] | None:
        return None if audience == EVERYTHING else ()

    def aspect(self, audience: Audience, peer: Node) -> Hashable:
        return self._served.get(peer.id, ()) if audience == EVERYTHING else None

    def sees(self, audience: Audience, peer: Node) -> bool:
        return audience == EVERYTHING

    def peer_routes(self, audience: Audience, peer: Node) -> tuple[str, ...]:
        return self._served.get(peer.id, ()) if audience == EVERYTHING else ()

    def peer_attributes(self, audience: Audience, peer: Node) -> CapMap:
        return {}

    def hides_ipv4(self, audience: Audience, node: Node) -> bool:
        return False

    def filters(self, audience: Audience) -> Filters:
        return OPEN if audience == EVERYTHING else CLOSED

    def ssh_policy(self, audience: Audience) -> SSHPolicy:
        return NO_SSH

    def check_period(self, source: Node, target: Node) -> timedelta | None:
        return None

    def node_attributes(self, node: Node) -> CapMap:
        return {}

    @property
    def relays(self) -> PolicyRelays | None:
        return None

    def served_routes(self, node: Node) -> tuple[str, ...]:
        return self._served.get(node.id, ())

    def moved_since(self, before: Compiled) -> frozenset[NodeId] | None:
        if not isinstance(before, AllowAll):
            return None
        if before._served is self._served:
            return frozenset()
        ids = before._served.keys() | self._served.keys()
        return frozenset(i for i in ids if before._served.get(i) != self._served.get(i))

    @property
    def is_full(self) -> bool:
        return False

    def advanced(self, before: TailnetState, after: TailnetState, touched: Touched) -> "AllowAll":
        """The same for the next state; elections are held again only if a router's row was touched."""
        rows = ((before.nodes.get(i), after.nodes.get(i)) for i in touched.nodes)
        if any(may_change_routes(old, new) for old, new in rows):
            return allow_all(after)
        return self


def allow_all(state: TailnetState) -> AllowAll:
    return AllowAll(served_routes(state.nodes.values()))
