"""Kinds of nodes: nodes of one class are told the same, may do the same, and others see them alike.

Which class a node belongs to depends on its own row (and its user's) only, and what a class may do on the
document only. So who sees whom is asked of two classes, and never changes between them.
"""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from headscale_saas.policy import spans
from headscale_saas.policy.atoms import indices
from headscale_saas.policy.buckets import Addresses, addresses_of
from headscale_saas.policy.program import Program
from headscale_saas.policy.ssh.rules import Standpoint
from headscale_saas.tailnet.model import Node, NodeId, UserId
from headscale_saas.tailnet.routes import EXIT_ROUTES, usable_routes


class Own(NamedTuple):
    """What a node that takes more than its own addresses has for itself; `routes` are those it may serve."""

    node: NodeId
    addresses: Addresses
    routes: tuple[str, ...]


class Standing(NamedTuple):
    """Equal for nodes of one class. `user` None: no rule asks whose node it is."""

    mask: int
    user: UserId | None
    ssh: Standpoint
    own: Own | None

    @property
    def key(self) -> Hashable:
        """Says the same. (Masks that are numbers hash badly: the powers of two have 61 hashes together.)"""
        return self.mask.to_bytes(self.mask.bit_length() // 8 + 1, "little"), self.user, self.ssh, self.own


class NodeClass:
    """Sets of rules: of which it is a source or a destination, itself or for what is behind it.

    `literals` are the bits of the literal selectors that its live subnet routes overlap.
    """

    def __init__(self, program: Program, standing: Standing) -> None:
        reach, mask = program.reach, standing.mask
        self._hash = hash(standing.key)
        self.program = program
        self.standing = standing
        self.subnets = tuple(route for route in self.routes if route not in EXIT_ROUTES)
        self.is_exit = len(self.subnets) != len(self.routes)
        self.literals = program.atoms.overlapping(spans.of(self.subnets)) if self.subnets else 0
        self.sources = reach.sources(mask)
        self.self_sources = reach.self_sources(mask) if standing.user is not None else 0
        self.self_holders = reach.self_holders(mask) if standing.user is not None else 0
        self.targets = reach.targets(mask)
        self.via_targets = 0
        self.hides_ipv4 = bool(mask & program.without_ipv4)
        if self.routes:
            self._speak_for_routes()

    @property
    def routes(self) -> tuple[str, ...]:
        return self.standing.own.routes if self.standing.own else ()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, NodeClass) and self.program is other.program and self.standing == other.standing
        )

    @property
    def as_destination(self) -> Hashable:
        """Equal for classes that are told the same, however they differ as sources."""
        mask = self.standing.mask & self.program.receiving
        return mask.to_bytes(mask.bit_length() // 8 + 1, "little"), self.standing.user, self.standing.own

    @property
    def as_own_destination(self) -> Hashable:
        """The same for rules to the nodes of their user, whoever that is."""
        rules = self.program.reach.self_targets(self.standing.mask)
        return rules.to_bytes(rules.bit_length() // 8 + 1, "little"), self.self_holders, self.standing.own

    def sees(self, other: "NodeClass") -> bool:
        """Whether nodes of the two classes are peers: one may reach the other in some way."""
        return self._reaches(other) or other._reaches(self)

    def _reaches(self, other: "NodeClass") -> bool:
        return bool(
            self.sources & (other.targets | other.via_targets)
            or (self.self_sources & other.self_holders and self.standing.user == other.standing.user)
            or (self.sources & self.via_targets and self._reaches_beside(other))
        )

    def _reaches_beside(self, other: "NodeClass") -> bool:
        """Whether a via rule that this router both carries out and may use has the other as a destination."""
        held = other.standing.mask | other.literals | (self.program.reach.internet if other.is_exit else 0)
        return any(self.via_destinations(rule) & held for rule in indices(self.sources & self.via_targets))

    def via_destinations(self, rule: int) -> int:
        """The literal selectors (bits) that this router makes reachable by a via rule that is for it."""
        internet = self.program.reach.internet if self.is_exit else 0
        return self.program.reach.via_literals[rule] & (self.literals | internet)

    def _speak_for_routes(self) -> None:
        reach, internet = self.program.reach, self.program.reach.internet if self.is_exit else 0
        if self.subnets:
            self.sources |= reach.sources_over(self.literals)
            self.targets |= reach.targets_over(self.literals)
        if self.is_exit:
            self.targets |= reach.to_internet
        self.via_targets = reach.via_targets(self.standing.mask, self.literals | internet)


class Classes:
    """The classes of a program that were met so far, each as one object."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known: dict[Hashable, NodeClass] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, node: Node, mask: int) -> NodeClass:
        program = self._program
        user = node.user_id if mask & program.personal else None
        own = _own(node) if takes_more(node) else None
        standing = Standing(mask, user, program.ssh.standpoint(node, mask), own)
        key = standing.key
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = NodeClass(program, standing)
        return known

    def forget_all_but(self, classes: Iterable[NodeClass]) -> None:
        self._known = {of.standing.key: of for of in classes}


def takes_more(node: Node) -> bool:
    """Whether its client takes packets to other addresses than its own: to those behind routes it advertises,
    and on an app connector to 0.0.0.0 and ::, which ask whether a peer may ask it for names
    (`ipnlocal/local.go:updateFilterLocked`, `peerapi.go:replyToDNSQueries`).
    """
    return bool(node.hostinfo.routable_ips or node.hostinfo.app_connector)


def _own(node: Node) -> Own:
    return Own(node.id, addresses_of(node), usable_routes(node))
