"""A program at one state of a tailnet. It never changes; the next state's shares all that stays the same."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from itertools import chain
from weakref import WeakKeyDictionary

from headscale_saas.policy.chunks import ChunkedFilters
from headscale_saas.policy.classes import NodeClass
from headscale_saas.policy.compiled import Audience, Compiled, Filters
from headscale_saas.policy.fitting import fitted
from headscale_saas.policy.language.document import PolicyRelays
from headscale_saas.policy.members import is_live
from headscale_saas.policy.printed import Printer
from headscale_saas.policy.program import Program
from headscale_saas.policy.ssh.printed import printed_ssh
from headscale_saas.policy.steps import Parts, Step, parts_of
from headscale_saas.tailcfg.filters import FilterRule
from headscale_saas.tailcfg.node import CapMap
from headscale_saas.tailcfg.ssh import SSHPolicy, SSHRule
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.state import TailnetState

NOTHING = "nothing"
"""The audience of nodes that do not take part."""

CLOSED = ChunkedFilters(())
NO_SSH = SSHPolicy()


class Resolution:
    """Implements `Compiled`."""

    def __init__(self, program: Program, parts: Parts) -> None:
        self.program = program
        self.parts = parts
        self._members = parts.members
        self._classes = parts.classes
        self._routing = parts.routing
        self._seen: dict[NodeClass, tuple[NodeId, ...] | None] = {}
        self._moved = WeakKeyDictionary[Compiled, frozenset[NodeId]]()

    def audience(self, node: Node) -> Audience:
        return self._classes[node.id] if is_live(node) else NOTHING

    def sees(self, audience: Audience, peer: Node) -> bool:
        return isinstance(audience, NodeClass) and audience.sees(self._classes[peer.id])

    def peers(self, audience: Audience) -> Sequence[NodeId] | None:
        if not isinstance(audience, NodeClass):
            return ()
        if audience not in self._seen:
            self._seen[audience] = self._found_peers(audience)
        return self._seen[audience]

    def aspect(self, audience: Audience, peer: Node) -> Hashable:
        if not self.sees(audience, peer):
            return None
        routes = self.peer_routes(audience, peer)
        return routes, bool(self.peer_attributes(audience, peer)), self.hides_ipv4(audience, peer)

    def peer_routes(self, audience: Audience, peer: Node) -> tuple[str, ...]:
        return self._routing.shown(audience, peer.id) if isinstance(audience, NodeClass) else ()

    def peer_attributes(self, audience: Audience, peer: Node) -> CapMap:
        routes = self.peer_routes(audience, peer)
        return self.program.attributes.of_peer(peer, self._members.masks[peer.id], routes)

    def hides_ipv4(self, audience: Audience, node: Node) -> bool:
        is_hidden = isinstance(audience, NodeClass) and audience.hides_ipv4
        return is_hidden or self._classes[node.id].hides_ipv4

    def filters(self, audience: Audience) -> Filters:
        return self.parts.filtering.of(audience) if isinstance(audience, NodeClass) else CLOSED

    def ssh_policy(self, audience: Audience) -> SSHPolicy:
        return self.parts.ssh.policy(audience.standing.ssh) if isinstance(audience, NodeClass) else NO_SSH

    def check_period(self, source: Node, target: Node) -> timedelta | None:
        if not (is_live(source) and is_live(target)):
            return None
        masks = self._members.masks
        return self.program.ssh.check_period(source, masks[source.id], target, masks[target.id])

    def node_attributes(self, node: Node) -> CapMap:
        return self.program.attributes.of(node, self._members.masks.get(node.id, 0))

    @property
    def relays(self) -> PolicyRelays | None:
        return self.program.document.relays

    def served_routes(self, node: Node) -> tuple[str, ...]:
        return self._routing.served.get(node.id, ())

    def printed(self, node: Node) -> tuple[FilterRule, ...]:
        """The node's packet filter as the real service would write it: for people and tests."""
        return self._printer.rules(node, self._classes[node.id]) if is_live(node) else ()

    def printed_ssh(self, node: Node) -> tuple[SSHRule, ...]:
        """The same of the node's SSH rules."""
        if not is_live(node):
            return ()
        return printed_ssh(self.program.ssh, self.parts.ssh.sources, node, self._members.masks[node.id])

    def moved_since(self, before: Compiled) -> frozenset[NodeId] | None:
        if self is before:
            return frozenset()
        if not isinstance(before, Resolution) or before.program is not self.program:
            return None
        if before not in self._moved:
            self._moved[before] = self._found_moved(before)
        return self._moved[before]

    def advanced(self, before: TailnetState, after: TailnetState, touched: Touched) -> "Resolution":
        """The same for the next state; this very object if it has nothing else to say."""
        parts = Step(self.program, self.parts, before, after, touched).parts()
        return self if parts is self.parts else Resolution(self.program, parts)

    @property
    def is_full(self) -> bool:
        is_short = self._members.newest is not None
        return is_short or self.parts.filtering.filling > 1 or self.parts.ssh.is_full

    def warm(self) -> None:
        """Makes what every class is told of itself."""
        for of in self._in_class:
            self.filters(of)
            self.ssh_policy(of)

    def _found_moved(self, before: "Resolution") -> frozenset[NodeId]:
        """Nodes that came or went are not among them: their rows did."""
        old = before._classes
        moved = {i for i, of in self._classes.items() if old.get(i) is not of and i in old}
        return self._routing.differing(before._routing) | moved

    @cached_property
    def _printer(self) -> Printer:
        return Printer(self.program, self._members, self.parts.around)

    def _found_peers(self, audience: NodeClass) -> tuple[NodeId, ...] | None:
        seen = [ids for of, ids in self._in_class.items() if audience.sees(of)]
        if len(seen) == len(self._in_class):
            return None
        return tuple(sorted(chain.from_iterable(seen)))

    @cached_property
    def _in_class(self) -> Mapping[NodeClass, list[NodeId]]:
        found: dict[NodeClass, list[NodeId]] = {}
        for node_id, of in self._classes.items():
            found.setdefault(of, []).append(node_id)
        return found


def resolve(program: Program, state: TailnetState) -> Resolution:
    return Resolution(program, parts_of(program, state))


def resolve_whole(program: Program, state: TailnetState) -> Resolution:
    """The same, with what every class is told of itself, and for no more nodes than there is room for."""
    resolution = Resolution(program, fitted(program, parts_of(program, state), state))
    resolution.warm()
    return resolution
