"""May this address open that port? Asked of the clauses of a policy, one pair of ends at a time.

For people who ask (tests, explanations); what clients are sent is made elsewhere, from the same clauses.
"""

from collections.abc import Hashable, Iterator
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address

from headscale_saas.policy import spans
from headscale_saas.policy.answers.questions import End, Question
from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.clauses import Clause
from headscale_saas.policy.language.selectors import ANY, DANGER_ALL, Kind, Selector
from headscale_saas.policy.members import is_live
from headscale_saas.policy.postures import Attributes, attributes_of, holds
from headscale_saas.policy.program import Program
from headscale_saas.policy.sources import space_of
from headscale_saas.policy.spans import Span
from headscale_saas.tailnet.model import Node, User
from headscale_saas.tailnet.routes import EXIT_ROUTES, usable_routes
from headscale_saas.tailnet.state import TailnetState

Address = IPv4Address | IPv6Address


class Connections:
    """A policy and the nodes of one state."""

    def __init__(self, program: Program, state: TailnetState) -> None:
        self.state = state
        self._atoms: Atoms = program.atoms
        self._document = program.document
        self._identities: dict[Hashable, int] = {}
        self._around: dict[Span, int] = {}
        self.questions = [self._question(clause) for clause in program.clauses]

    def source(self, span: Span, node: Node | None = None, postures: int | None = None) -> End:
        """`postures` None: those that the node has by what it reports."""
        bits = self._names(span, node)
        if node is not None:
            bits |= self.postures(attributes_of(node)) if postures is None else postures
        elif self._is_in_any(span):
            bits |= self._atoms.bit(ANY)
        return End(span, bits | self._atoms.bit(DANGER_ALL), node)

    def target(self, span: Span, node: Node | None = None) -> End:
        return End(span, self._names(span, node) | self._atoms.bit(ANY), node)

    def postures(self, told: Attributes) -> int:
        """The bits of those that a device with these attributes has."""
        if not self._atoms.has_postures:
            return 0
        postures = self._document.postures.items()
        return self._atoms.posture_bits(name for name, assertions in postures if holds(assertions, told))

    def at(self, address: Address) -> Node | None:
        """The node that has the address."""
        return self._nodes_by_address.get(spans.number(address))

    def members(self, selector: Selector) -> list[Node]:
        """The nodes that a selector for identities contains, also those that take no part now. It need not
        occur in the policy.
        """
        atoms = Atoms(self._document, (selector,))
        wanted = atoms.bit(selector)
        found = [
            node
            for nodes in self._by_owner.values()
            if atoms.identity(nodes[0].tags, self.owner(nodes[0])) & wanted
            for node in nodes
        ]
        return sorted(found, key=lambda node: node.id)

    def has_user(self, selector: Selector) -> bool:
        """Whether a member of the tailnet is called so."""
        atoms = Atoms(self._document, (selector,))
        return any(atoms.identity((), user) & atoms.bit(selector) for user in self.state.users.values())

    def owner(self, node: Node) -> User | None:
        return None if node.user_id is None else self.state.users.get(node.user_id)

    def mask(self, node: Node, postures: int | None = None) -> int:
        """Of the selectors that name a node by who it is, and of the postures it has."""
        told = self.postures(attributes_of(node)) if postures is None else postures
        return self._identity(node) | told

    def _question(self, clause: Clause) -> Question:
        return Question(
            clause=clause,
            sources=self._atoms.bits(clause.sources),
            postures=self._atoms.posture_bits(clause.postures),
            targets=self._atoms.bits(clause.destinations),
            via=self._atoms.bits(Selector(Kind.TAG, tag) for tag in clause.via),
        )

    def _names(self, span: Span, node: Node | None) -> int:
        """All selectors that contain the address, but `*`."""
        known = self._around.get(span)
        if known is None:
            known = self._around[span] = self._literals_around(span) | self._identity(node)
        return known

    def _literals_around(self, span: Span) -> int:
        """Those that contain all of it."""
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
        owner = _owner(node)
        known = self._identities.get(owner)
        if known is None:
            known = self._identities[owner] = self._atoms.identity(node.tags, self.owner(node))
        return known

    def _is_in_any(self, span: Span) -> bool:
        """What `*` is as a source: the tailnet, and all that is behind subnet routers."""
        return spans.covers(self._anybody, (span,))

    @cached_property
    def _anybody(self) -> spans.Spans:
        settings = self.state.tailnet.settings
        space = space_of(settings.prefix_v4, settings.prefix_v6)
        return spans.union((space, spans.of(self._subnets())))

    def _subnets(self) -> Iterator[str]:
        for node in self.state.nodes.values():
            if node.approved_routes:
                yield from (route for route in usable_routes(node) if route not in EXIT_ROUTES)

    @cached_property
    def _by_owner(self) -> dict[Hashable, list[Node]]:
        found: dict[Hashable, list[Node]] = {}
        for node in self.state.nodes.values():
            found.setdefault(_owner(node), []).append(node)
        return found

    @cached_property
    def _nodes_by_address(self) -> dict[int, Node]:
        return {
            spans.number(address): node
            for node in self.state.nodes.values()
            for address in (node.ipv4, node.ipv6)
            if address is not None
        }


def _owner(node: Node) -> Hashable:
    return node.tags if node.user_id is None else node.user_id
