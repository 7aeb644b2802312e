"""The packet filter of one node as the real service writes it, made from the clauses: for people and tests.

What clients are sent is made of the program's rules elsewhere, and decides alike.
"""

from collections.abc import Iterable, Iterator, Sequence

from headscale_saas.policy import spans
from headscale_saas.policy.buckets import Addresses, addresses_of
from headscale_saas.policy.classes import NodeClass
from headscale_saas.policy.clauses import Clause, Ports
from headscale_saas.policy.destinations import spelling
from headscale_saas.policy.language.selectors import ANY, DANGER_ALL, Kind, Selector
from headscale_saas.policy.members import Members
from headscale_saas.policy.place import Place, prefixes
from headscale_saas.policy.program import Program
from headscale_saas.policy.sources import EVERYBODY, Surroundings
from headscale_saas.tailcfg.filters import CapGrant, FilterRule, NetPortRange
from headscale_saas.tailcfg.node import CapMap
from headscale_saas.tailnet.model import Node


class Printer:
    """One state's rules, node by node; what words mean as sources is worked out once."""

    def __init__(self, program: Program, members: Members, around: Surroundings) -> None:
        self._program = program
        self._members = members
        self._around = around
        self._known: dict[tuple[Selector, int], frozenset[str]] = {}
        self._sources: dict[tuple[int, int], Addresses] = {}

    def rules(self, node: Node, of: NodeClass) -> tuple[FilterRule, ...]:
        """What may come in at the node."""
        page = _Page(self, self._program, node, of)
        for clause in self._program.clauses:
            page.add(clause)
        return page.rules()

    def sources(self, selectors: tuple[Selector, ...], postures: int) -> Addresses:
        """In the order of strings. The selectors are a list of some clause: many have the same one."""
        key = id(selectors), postures
        known = self._sources.get(key)
        if known is None:
            texts = frozenset[str]().union(*(self._source(one, postures) for one in selectors))
            is_open = DANGER_ALL in selectors and not postures
            known = self._sources[key] = EVERYBODY if is_open else tuple(sorted(texts))
        return known

    def own_nodes(self, node: Node, selectors: Iterable[Selector], postures: int) -> Addresses:
        """Of the node's user, as far as they are sources."""
        named = self._members.matching(self._program.atoms.bits(selectors), postures)
        return tuple(
            sorted(text for one in named if one.user_id == node.user_id for text in addresses_of(one))
        )

    def is_anything(self, selector: Selector) -> bool:
        """Whether it names any address now."""
        if selector == ANY or self._program.literals.spans(selector):
            return True
        return any(addresses_of(one) for one in self._members.matching(self._program.atoms.bit(selector)))

    def _source(self, selector: Selector, postures: int) -> frozenset[str]:
        known = self._known.get((selector, postures))
        if known is None:
            texts = self._postured(selector, postures) if postures else self._plain(selector)
            known = self._known[selector, postures] = frozenset(texts)
        return known

    def _plain(self, selector: Selector) -> Iterator[str]:
        if selector == ANY:
            yield from map(spans.spelled, self._around.space)
            yield from self._around.live
            return
        yield from map(spans.spelled, self._program.literals.spans(selector))
        for node in self._members.matching(self._identities((selector,))):
            yield from addresses_of(node)

    def _postured(self, selector: Selector, postures: int) -> Iterator[str]:
        """Devices one by one; of other addresses only those that no device can have."""
        if selector == ANY:
            yield from self._around.live
        pieces = spans.EVERYTHING if selector == DANGER_ALL else self._program.literals.spans(selector)
        yield from map(spans.spelled, spans.difference(pieces, self._around.space))
        for node in self._members.matching(self._program.atoms.bit(selector), postures):
            for text in addresses_of(node):
                if not pieces or spans.covers(pieces, spans.of([text])):
                    yield text

    def _identities(self, selectors: Iterable[Selector]) -> int:
        return self._program.atoms.bits(selectors) & ~self._program.atoms.literal


class _Page:
    """The rules of one node. Those with equal sources and protocol are written as one, where the first of
    them stands, even if that one is not about this node."""

    def __init__(self, printer: Printer, program: Program, node: Node, of: NodeClass) -> None:
        self._printer = printer
        self._program = program
        self._node = node
        self._of = of
        self._place = Place(spans.of(addresses_of(node)), spans.of(of.subnets), of.is_exit)
        self._ports: dict[tuple[Addresses, int | None], list[NetPortRange]] = {}
        self._rules: list[tuple[Addresses, int | None] | FilterRule] = []

    def rules(self) -> tuple[FilterRule, ...]:
        written = (rule if isinstance(rule, FilterRule) else self._written(*rule) for rule in self._rules)
        return tuple(rule for rule in written if rule.dst_ports or rule.cap_grant)

    def add(self, clause: Clause) -> None:
        if not clause.sources:
            return
        postures = self._program.atoms.posture_bits(clause.postures)
        if clause.via:
            self._add_via(clause, postures)
            return
        sources = self._printer.sources(clause.sources, postures)
        if sources and any(map(self._printer.is_anything, clause.destinations)):
            for protocol, ports in clause.ip:
                self._add_ports(sources, protocol, map(self._texts, clause.destinations), ports)
        if clause.app and clause.destinations:
            self._add_grants(sources, clause, postures)
        if clause.has_self and self._node.user_id is not None:
            self._add_self(clause, postures)

    def _add_ports(
        self, sources: Addresses, protocol: int | None, texts: Iterable[Iterable[str]], ports: Ports
    ) -> None:
        key = sources, protocol
        if key not in self._ports:
            self._ports[key] = []
            self._rules.append(key)
        self._ports[key] += [NetPortRange(text, one) for part in texts for text in part for one in ports]

    def _written(self, sources: Addresses, protocol: int | None) -> FilterRule:
        numbers = () if protocol is None else (protocol,)
        return FilterRule(src_ips=sources, dst_ports=tuple(self._ports[sources, protocol]), ip_proto=numbers)

    def _texts(self, destination: Selector) -> Iterable[str]:
        """A destination as far as it concerns the node."""
        pieces = self._program.literals.spans(destination)
        if pieces or destination == ANY:
            is_internet = self._program.literals.reaches_internet(destination)
            told = self._place.concerned(pieces, is_internet=is_internet)
            return map(spelling(destination), told) if pieces else ("*",)
        return addresses_of(self._node) if self._is_in(destination) else ()

    def _is_in(self, selector: Selector) -> bool:
        return bool(self._of.standing.mask & self._program.atoms.bit(selector))

    def _add_via(self, clause: Clause, postures: int) -> None:
        """For a router with one of the tags; what it is not asked to lead to is nobody's."""
        tags = (Selector(Kind.TAG, tag) for tag in clause.via)
        texts = [text for one in clause.destinations for text in self._routed(one)]
        sources = self._printer.sources(clause.sources, postures)
        if sources and texts and any(map(self._is_in, tags)):
            for protocol, ports in clause.ip:
                self._add_ports(sources, protocol, [texts], ports)

    def _routed(self, destination: Selector) -> Iterable[str]:
        literals = self._program.literals
        is_internet = literals.reaches_internet(destination)
        pieces = self._place.routed(literals.spans(destination), is_internet=is_internet)
        return map(spelling(destination), pieces)

    def _add_grants(self, sources: Addresses, clause: Clause, postures: int) -> None:
        app: CapMap = dict(clause.app)
        self._grant(sources, [(self._granted(one, 0), app) for one in clause.destinations])
        back = self._printer.sources(clause.destinations, 0)
        for name in clause.companions:
            granted = {prefix for one in clause.sources for prefix in self._granted(one, postures)}
            self._grant(back, [(tuple(sorted(granted)), {name: None})])

    def _granted(self, destination: Selector, postures: int) -> Addresses:
        is_meant = not postures or bool(self._of.standing.mask & postures)
        pieces = self._program.literals.spans(destination)
        if pieces:
            return self._place.granted(pieces, to_node=is_meant)
        return prefixes(self._place.addresses) if is_meant and self._is_in(destination) else ()

    def _add_self(self, clause: Clause, postures: int) -> None:
        sources = self._printer.own_nodes(self._node, clause.sources, postures)
        if not sources:
            return
        for protocol, ports in clause.ip:
            self._add_ports(sources, protocol, [addresses_of(self._node)], ports)
        own = prefixes(self._place.addresses)
        if clause.app:
            self._grant(sources, [(own, dict(clause.app))])
        for name in clause.companions:
            back = self._printer.own_nodes(self._node, clause.sources, 0)
            is_source = not postures or bool(self._of.standing.mask & postures)
            self._grant(back, [(own if is_source else (), {name: None})])

    def _grant(self, sources: Addresses, granted: Sequence[tuple[Addresses, CapMap]]) -> None:
        grants = tuple(CapGrant(dsts=tuple(sorted(dsts)), cap_map=caps) for dsts, caps in granted if dsts)
        self._rules.append(FilterRule(src_ips=sources, cap_grant=grants))
