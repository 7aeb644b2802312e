"""Which routes of a router are shown to a class of viewers, at one state.

A viewer gets a route if it may use it, or is used from behind it; via rules then pin it to their routers.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import NamedTuple

from headscale_saas.policy import spans
from headscale_saas.policy.atoms import indices
from headscale_saas.policy.classes import NodeClass
from headscale_saas.policy.program import Program
from headscale_saas.policy.reach import RuleSet
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.routes import EXIT_ROUTES, Served, served_routes


class Router(NamedTuple):
    """A node that may serve routes now. The first of several is preferred: online ones, by id."""

    is_away: bool
    node: NodeId
    of: NodeClass


class Around(NamedTuple):
    """What lies around a route: rules with sources behind it, ordinary and via rules that lead there."""

    literals: int
    sources: RuleSet
    targets: RuleSet
    via: RuleSet


class Routing:
    """`served` as in `tailnet.routes`; `live` are all subnet routes that some node may serve, sorted."""

    def __init__(self, program: Program, nodes: Iterable[Node], classes: Mapping[NodeId, NodeClass]) -> None:
        rows = list(nodes)
        routers = (
            Router(not node.online, node.id, classes[node.id]) for node in rows if node.approved_routes
        )
        self._program = program
        self._routers = {router.node: router for router in routers if router.of.routes}
        self.served: Served = served_routes(rows)
        self.live = tuple(sorted({route for router in self._routers.values() for route in router.of.subnets}))
        self._around: dict[str, Around] = {}
        self._shown: dict[tuple[NodeClass, NodeId], tuple[str, ...]] = {}

    def shown(self, viewer: NodeClass, node_id: NodeId) -> tuple[str, ...]:
        """The routes of this node that such viewers get, sorted."""
        router = self._routers.get(node_id)
        if router is None:
            return ()
        shown = self._shown.get((viewer, node_id))
        if shown is None:
            shown = tuple(route for route in router.of.routes if self._is_shown(viewer, router, route))
            self._shown[viewer, node_id] = shown
        return shown

    def is_like(self, other: "Routing") -> bool:
        return self.served == other.served and self._routers == other._routers

    def differing(self, before: "Routing") -> frozenset[NodeId]:
        """Nodes whose routes may be shown otherwise than before, even if their class is the same."""
        if self is before:
            return frozenset()
        ids = before.served.keys() | self.served.keys()
        moved = {i for i in ids if before.served.get(i) != self.served.get(i)}
        if self._program.reach.via_literals and self._routers != before._routers:
            # Among the routers of a via rule, one's place depends on all.
            moved |= self._routers.keys() | before._routers.keys()
        return frozenset(moved)

    def _is_shown(self, viewer: NodeClass, router: Router, route: str) -> bool:
        around = self._around_of(route)
        is_served = route in self.served.get(router.node, ())
        pinning = viewer.sources & around.via
        is_usable = bool(viewer.sources & around.targets)
        if pinning:
            if any(self._is_router_for(rule, router, route) for rule in indices(pinning)):
                return is_served or not is_usable
            if not is_usable:
                return False
        return is_served and (is_usable or self._is_shown_back(viewer, route, around))

    def _is_router_for(self, rule: int, router: Router, route: str) -> bool:
        """Whether the via rule leads through this one: of those with its tags that have the route the first.
        Exit nodes stand beside each other, and the user chooses."""
        tags = self._program.rules[rule].via
        if not router.of.standing.mask & tags:
            return False
        if route in EXIT_ROUTES:
            return True
        rivals = (r for r in self._routers.values() if r.of.standing.mask & tags and route in r.of.routes)
        return min(rivals) == router

    def _is_shown_back(self, viewer: NodeClass, route: str, around: Around) -> bool:
        """Though the viewer may not use it: it has the route itself, is used from behind it, or carries out a
        via rule that leads there."""
        if route in viewer.routes or around.sources & (viewer.targets | viewer.via_targets):
            return True
        carried = indices(viewer.sources & viewer.via_targets)
        return any(viewer.via_destinations(rule) & around.literals for rule in carried)

    def _around_of(self, route: str) -> Around:
        around = self._around.get(route)
        if around is None:
            around = self._around[route] = _around(self._program, route)
        return around


def _around(program: Program, route: str) -> Around:
    reach = program.reach
    if route in EXIT_ROUTES:
        # Every address lies behind it, so only what is meant for exit nodes counts.
        return Around(reach.internet, 0, reach.to_internet, reach.via_over(reach.internet))
    literals = program.atoms.overlapping((spans.span(ip_network(route)),))
    return Around(
        literals, reach.sources_over(literals), reach.targets_over(literals), reach.via_over(literals)
    )
