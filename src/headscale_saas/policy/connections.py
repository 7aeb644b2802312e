"""May this address open that port? Asked of the clauses of a policy, one pair of ends at a time.

For people who ask (tests, explanations); what clients are sent is made elsewhere, from the same clauses.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address

import msgspec

from headscale_saas.policy import spans
from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.clauses import Clause
from headscale_saas.policy.language.ports import WITH_PORTS
from headscale_saas.policy.language.selectors import ANY, DANGER_ALL, Kind, Selector
from headscale_saas.policy.members import is_live
from headscale_saas.policy.postures import Attributes, attributes_of, holds
from headscale_saas.policy.program import Program
from headscale_saas.policy.sources import space_of
from headscale_saas.policy.spans import Span
from headscale_saas.tailcfg.filters import LAST_PORT
from headscale_saas.tailnet.model import Node, User
from headscale_saas.tailnet.routes import EXIT_ROUTES, usable_routes
from headscale_saas.tailnet.state import TailnetState

Address = IPv4Address | IPv6Address

PINGS = frozenset({1, 58})
BY_DEFAULT = frozenset({6, 17}) | PINGS
"""What a rule without a protocol allows: ICMP, TCP, UDP, ICMPv6."""


class End(msgspec.Struct, frozen=True):
    """Where a connection begins or ends: an address (or the span of a prefix), and what contains it.

    `bits` are those of the selectors around it; those of postures are there for nodes. `node` None: no device
    of the tailnet has the address.
    """

    span: Span
    bits: int
    node: Node | None = None

    def __str__(self) -> str:
        return spans.spelled(self.span)


class Question(msgspec.Struct, frozen=True):
    """A clause with its selectors as bits. Postures are the bits of which a device must have one."""

    clause: Clause
    sources: int
    postures: int
    targets: int
    via: int

    def is_from(self, source: End) -> bool:
        return self.names(source) and self.trusts(source)

    def names(self, source: End) -> bool:
        return bool(source.bits & self.sources)

    def trusts(self, source: End) -> bool:
        """Postures are asked of devices only: what is behind a subnet router passes."""
        return not self.postures or source.node is None or bool(source.bits & self.postures)

    def is_to(self, target: End, source: End) -> bool:
        return bool(target.bits & self.targets) or (self.clause.has_self and is_own(source, target))

    def lets_in(self, protocol: int, port: int) -> bool:
        """Whether clients let packets in because of the clause. Who may reach any port may ping; protocols
        without ports need all of them.
        """
        if protocol in PINGS:
            return bool(self.clause.ip)
        if protocol in WITH_PORTS:
            return self.opens({protocol}, port)
        return self.opens({protocol}, 0) and self.opens({protocol}, LAST_PORT)

    def opens(self, protocols: Iterable[int], port: int) -> bool:
        """Whether the clause opens the port for any of the protocols."""
        wanted = frozenset(protocols)
        return any(
            (wanted & (BY_DEFAULT if protocol is None else {protocol}))
            and any(span.first <= port <= span.last for span in ports)
            for protocol, ports in self.clause.ip
        )


class Connections:
    """A policy and the nodes of one state."""

    def __init__(self, program: Program, state: TailnetState) -> None:
        self.state = state
        self._atoms: Atoms = program.atoms
        self._document = program.document
        self.questions = [self._question(clause) for clause in program.clauses]

    def source(self, span: Span, node: Node | None = None, attributes: Attributes | None = None) -> End:
        """`attributes` None: what the node reports counts."""
        bits = self._around(span) | self._identity(node) | self._atoms.bit(DANGER_ALL)
        if node is None and self._is_in_any(span):
            bits |= self._atoms.bit(ANY)
        if node is not None and self._atoms.has_postures:
            bits |= self._postures(attributes_of(node) if attributes is None else attributes)
        return End(span, bits, node)

    def target(self, span: Span, node: Node | None = None) -> End:
        return End(span, self._around(span) | self._identity(node) | self._atoms.bit(ANY), node)

    def at(self, address: Address) -> Node | None:
        """The node that has the address."""
        return self._nodes_by_address.get(spans.number(address))

    def members(self, selector: Selector) -> list[Node]:
        """The nodes that a selector for identities contains, also those that take no part now. It need not
        occur in the policy.
        """
        atoms = Atoms(self._document, (selector,))
        wanted = atoms.bit(selector)
        return [
            node for node in self.state.nodes.values() if atoms.identity(node.tags, self.owner(node)) & wanted
        ]

    def has_user(self, selector: Selector) -> bool:
        """Whether a member of the tailnet is called so."""
        atoms = Atoms(self._document, (selector,))
        return any(atoms.identity((), user) & atoms.bit(selector) for user in self.state.users.values())

    def owner(self, node: Node) -> User | None:
        return None if node.user_id is None else self.state.users.get(node.user_id)

    def mask(self, node: Node, attributes: Attributes | None = None) -> int:
        """Of the selectors that name a node by who it is, and of the postures it has."""
        told = self._postures(attributes_of(node) if attributes is None else attributes)
        return self._identity(node) | told

    def _question(self, clause: Clause) -> Question:
        return Question(
            clause=clause,
            sources=self._atoms.bits(clause.sources),
            postures=self._atoms.posture_bits(clause.postures),
            targets=self._atoms.bits(clause.destinations),
            via=self._atoms.bits(Selector(Kind.TAG, tag) for tag in clause.via),
        )

    def _around(self, span: Span) -> int:
        """The literal selectors that contain all of it."""
        low, high = span
        if low == high:
            return self._atoms.overlapping((span,))
        bits = 0
        for number, around in self._atoms.spans.items():
            if spans.covers(around, (span,)):
                bits |= 1 << number
        return bits

    def _identity(self, node: Node | None) -> int:
        if node is None or not is_live(node):
            return 0
        return self._atoms.identity(node.tags, self.owner(node))

    def _postures(self, told: Attributes) -> int:
        postures = self._document.postures.items()
        return self._atoms.posture_bits(name for name, assertions in postures if holds(assertions, told))

    def _is_in_any(self, span: Span) -> bool:
        """What `*` is as a source: the tailnet, and all that is behind subnet routers."""
        return spans.covers(self._anybody, (span,))

    @cached_property
    def _anybody(self) -> spans.Spans:
        return spans.union((space_of(self.state.tailnet.settings), spans.of(self._subnets())))

    def _subnets(self) -> Iterator[str]:
        for node in self.state.nodes.values():
            if node.approved_routes:
                yield from (route for route in usable_routes(node) if route not in EXIT_ROUTES)

    @cached_property
    def _nodes_by_address(self) -> dict[int, Node]:
        return {
            spans.number(address): node
            for node in self.state.nodes.values()
            for address in (node.ipv4, node.ipv6)
            if address is not None
        }


def is_own(source: End, target: End) -> bool:
    """Whether both are devices of one user."""
    ends = (source.node, target.node)
    users = {node.user_id if node is not None else None for node in ends}
    return len(users) == 1 and None not in users
