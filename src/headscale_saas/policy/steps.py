"""What a program is at one state, and how that follows from what it was at the state before."""

from collections.abc import Mapping
from operator import is_
from typing import NamedTuple

from headscale_saas.policy.classes import Classes, NodeClass, takes_more
from headscale_saas.policy.destinations import Deliveries
from headscale_saas.policy.filtering import Filtering
from headscale_saas.policy.members import Members, members_of
from headscale_saas.policy.program import Program
from headscale_saas.policy.routing import Routing
from headscale_saas.policy.sources import Sources, Surroundings, space_of
from headscale_saas.policy.ssh.policies import SshPolicies
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.state import TailnetState

FORGETTING = 2
"""Classes that nobody is in are forgotten when there are more than so many times the nodes."""
FEWEST_CLASSES = 64

ROOMY = 7 / 8
"""So full, filters have room again for all who join."""
LET_IN = 64
"""Nodes that were left out, in one step."""


class Parts(NamedTuple):
    """`classes` has the class of every node, `kinds` each class as one object."""

    members: Members
    kinds: Classes
    classes: Mapping[NodeId, NodeClass]
    routing: Routing
    around: Surroundings
    filtering: Filtering
    ssh: SshPolicies


def parts_of(program: Program, state: TailnetState, newest: NodeId | None = None) -> Parts:
    """With nodes up to `newest` as sources (None: all)."""
    members, kinds = members_of(program.atoms, state, len(program.rules), newest), Classes(program)
    classes = {node_id: kinds.of(node, members.masks[node_id]) for node_id, node in state.nodes.items()}
    routing = Routing(program, state.nodes.values(), classes)
    around = _surroundings(state, routing)
    filtering = Filtering(program, Deliveries(), Sources(program, members, around))
    ssh = SshPolicies(program.ssh, members, state.users)
    return Parts(members, kinds, classes, routing, around, filtering, ssh)


class Step:
    """From one state to the next. `touched` must name at least all rows in which they differ."""

    def __init__(
        self, program: Program, parts: Parts, before: TailnetState, after: TailnetState, touched: Touched
    ) -> None:
        self._program = program
        self._old = parts
        self._before = before
        self._after = after
        self._touched = touched
        self._members_changed: frozenset[NodeId] = frozenset()

    def parts(self) -> Parts:
        """Every part that stays as it is is the former one; if all do, so are the parts themselves."""
        old, after = self._old, self._after
        rules, newest = len(self._program.rules), self._newest()
        members = old.members.advanced(self._before, after, self._touched, rules, newest)
        if members is not old.members:
            self._members_changed = members.changed
        classes = self._classes(members)
        routing = self._routing(classes)
        around = self._around(routing)
        ssh = self._ssh(members)
        new = (members, classes, routing, around, ssh)
        if all(map(is_, new, (old.members, old.classes, old.routing, old.around, old.ssh))):
            return old
        filtering = self._filtering(members, classes, around)
        return Parts(members, old.kinds, classes, routing, around, filtering, ssh)

    def _newest(self) -> NodeId | None:
        """Where filters are full, nodes that join now are nobody's source; when there is room again, some
        are, by and by."""
        filtering, newest = self._old.filtering, self._old.members.newest
        if newest is None:
            if filtering.filling > 1:  # with what nobody is told any more
                filtering.forget_all_but(frozenset(self._old.classes.values()))
            return max(self._before.nodes, default=NodeId(0)) if filtering.filling > 1 else None
        filtering.recount()
        left_out = sorted(node_id for node_id in self._after.nodes if node_id > newest)
        room = self._room(len(self._after.nodes) - len(left_out), filtering.filling)
        if len(left_out) <= room and filtering.filling < ROOMY:
            return None
        return left_out[:room][-1] if left_out and room else newest

    def _room(self, nodes: int, filling: float) -> int:
        """For how many more there is, seeing how much these fill: half of it, since some take more."""
        if filling == 0:
            return LET_IN
        return max(0, min(int(nodes * (1 / filling - 1) / 2), LET_IN))

    def _classes(self, members: Members) -> Mapping[NodeId, NodeClass]:
        """In the order of the nodes."""
        nodes, known = self._after.nodes, self._old.classes
        changed = self._members_changed.union(filter(self._advertises_otherwise, self._touched.nodes))
        if not changed:
            return known
        classes = dict(known)
        for node_id in changed:
            node = nodes.get(node_id)
            if node is None:
                classes.pop(node_id, None)
            else:
                classes[node_id] = self._old.kinds.of(node, members.masks[node_id])
        return known if classes == known else classes

    def _advertises_otherwise(self, node_id: NodeId) -> bool:
        old, new = self._rows(node_id)
        return old is not new and _ways(old) != _ways(new)

    def _routing(self, classes: Mapping[NodeId, NodeClass]) -> Routing:
        known = self._old.routing
        concerned = self._touched.nodes | self._members_changed
        if not any(self._may_route_otherwise(i, classes) for i in concerned):
            return known
        routing = Routing(self._program, self._after.nodes.values(), classes)
        return known if routing.is_like(known) else routing

    def _may_route_otherwise(self, node_id: NodeId, classes: Mapping[NodeId, NodeClass]) -> bool:
        old, new = self._rows(node_id)
        if not any(row is not None and row.approved_routes for row in (old, new)):
            return False
        is_same_class = self._old.classes.get(node_id) is classes.get(node_id)
        return not is_same_class or _election(old) != _election(new)

    def _around(self, routing: Routing) -> Surroundings:
        if routing is self._old.routing and not self._touched.settings:
            return self._old.around
        around = _surroundings(self._after, routing)
        return self._old.around if around == self._old.around else around

    def _ssh(self, members: Members) -> SshPolicies:
        is_same = members is self._old.members and self._after.users is self._before.users
        if is_same or not self._program.ssh.rules:
            return self._old.ssh
        return SshPolicies(self._program.ssh, members, self._after.users, self._old.ssh)

    def _filtering(
        self, members: Members, classes: Mapping[NodeId, NodeClass], around: Surroundings
    ) -> Filtering:
        stale = 0
        for node_id in self._members_changed:
            for of in (self._old.classes.get(node_id), classes.get(node_id)):
                stale |= of.sources | of.self_sources if of else 0
        users = (row.user_id for i in self._members_changed for row in self._rows(i) if row)
        owners = frozenset(user for user in users if user is not None)
        filtering = self._old.filtering.advanced(members, around, stale, owners)
        if len(self._old.kinds) > FORGETTING * max(len(classes), FEWEST_CLASSES):
            live = frozenset(classes.values())
            self._old.kinds.forget_all_but(live)
            filtering.forget_all_but(live)
        return filtering

    def _rows(self, node_id: NodeId) -> tuple[Node | None, Node | None]:
        return self._before.nodes.get(node_id), self._after.nodes.get(node_id)


def _surroundings(state: TailnetState, routing: Routing) -> Surroundings:
    settings = state.tailnet.settings
    return Surroundings(space_of(settings.prefix_v4, settings.prefix_v6), routing.live)


def _ways(node: Node | None) -> tuple[object, ...]:
    """What a class depends on besides the mask and the liveness."""
    return (*_routes(node), node is not None and takes_more(node))


def _routes(node: Node | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (node.approved_routes, node.hostinfo.routable_ips) if node else ((), ())


def _election(node: Node | None) -> tuple[bool, object]:
    return (node.online, _routes(node)) if node else (False, None)
