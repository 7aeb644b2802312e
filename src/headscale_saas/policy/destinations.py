"""What a class of nodes is told about the destinations of a rule: those that concern it, in wire form.

Most nodes take packets to their own addresses only, so `*` stands for these there, and all such nodes share
one text. One that takes more (`classes.takes_more`) is told its own addresses.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from headscale_saas.policy import spans
from headscale_saas.policy.atoms import indices
from headscale_saas.policy.buckets import Addresses
from headscale_saas.policy.classes import NodeClass
from headscale_saas.policy.language.selectors import ANY, INTERNET, Selector
from headscale_saas.policy.place import Place, prefixes
from headscale_saas.policy.rules import Entry, Rule
from headscale_saas.policy.spans import Span, Spans
from headscale_saas.tailcfg.filters import CapGrant, NetPortRange
from headscale_saas.tailnet.model import UserId

ANYWHERE = ("0.0.0.0/0", "::/0")


class Delivery(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A rule as a class gets it, with either `ports` or `grants`. `user` is whose nodes alone are its sources
    (None: all sources of the rule). Compared by identity: `Deliveries` has equal ones once."""

    rule: int
    user: UserId | None
    ports: tuple[NetPortRange, ...] = ()
    grants: tuple[CapGrant, ...] = ()


class Told:
    """What classes have in common that are told the same, however they differ as sources."""

    __slots__ = ("deliveries",)

    def __init__(self, deliveries: tuple[Delivery, ...]) -> None:
        self.deliveries = deliveries


class Deliveries:
    """What classes are told, each delivery as one object, so that those who are told the same share it."""

    def __init__(self) -> None:
        self._of: dict[NodeClass, Told] = {}
        self._alike: dict[Hashable, Told] = {}
        self._known: dict[tuple[int, UserId | None], dict[Hashable, Delivery]] = {}
        self._ports: dict[tuple[NetPortRange, ...], tuple[NetPortRange, ...]] = {}
        self._own_nodes: dict[Hashable, tuple[Delivery, ...]] = {}

    def of(self, of: NodeClass) -> Told:
        """In order of the rules."""
        found = self._of.get(of)
        if found is None:
            key = of.as_destination
            found = self._alike.get(key)
            if found is None:
                found = self._alike[key] = Told(tuple(map(self._as_known, self._made(of))))
            self._of[of] = found
        return found

    def _made(self, of: NodeClass) -> Iterable[Delivery]:
        own_nodes: Iterable[Delivery] = ()
        if of.standing.user is not None:
            key = of.as_own_destination
            if key not in self._own_nodes:
                self._own_nodes[key] = tuple(_deliveries(of, _own_nodes(of)))
            own_nodes = (replace(one, user=of.standing.user) for one in self._own_nodes[key])
        return sorted((*_deliveries(of, _concerned(of)), *own_nodes), key=attrgetter("rule"))

    def with_sources(self, rule: int, user: UserId | None) -> Iterable[Delivery]:
        return self._known.get((rule, user), {}).values()

    def forget_all_but(self, classes: Iterable[NodeClass]) -> None:
        self._of = {of: self._of[of] for of in classes if of in self._of}
        self._alike = {of.as_destination: told for of, told in self._of.items()}
        self._known, self._ports, self._own_nodes = {}, {}, {}
        for told in self._alike.values():
            for delivery in told.deliveries:
                self._as_known(delivery)

    def told(self) -> frozenset[Told]:
        """All that somebody is told."""
        return frozenset(self._alike.values())

    def has(self, delivery: Delivery) -> bool:
        return self._known.get((delivery.rule, delivery.user), {}).get(_content(delivery)) is delivery

    def _as_known(self, delivery: Delivery) -> Delivery:
        known = self._known.setdefault((delivery.rule, delivery.user), {})
        found = known.get(_content(delivery))
        if found is None:  # others, with other sources, may have the same list of ports, and a long one
            ports = self._ports.setdefault(delivery.ports, delivery.ports)
            found = delivery if ports is delivery.ports else replace(delivery, ports=ports)
            known[_content(found)] = found
        return found


def _content(delivery: Delivery) -> Hashable:
    """Of those with the same sources."""
    return delivery.ports, tuple(grant.dsts for grant in delivery.grants)


def _deliveries(of: NodeClass, concerned: Mapping[int, list[Entry]]) -> Iterator[Delivery]:
    here, rules = _Here(of), of.program.rules
    for number, entries in concerned.items():
        delivery = here.delivery(rules[number], entries)
        if delivery.ports or delivery.grants:
            yield delivery


def _concerned(of: NodeClass) -> dict[int, list[Entry]]:
    """The entries that may have something for this class, by rule."""
    program = of.program
    outside = program.inside_internet if of.is_exit else 0
    found: set[tuple[int, int]] = set()
    for number in indices(of.standing.mask | of.literals | outside):
        found.update(program.entries_at.get(number, ()))
    concerned: dict[int, list[Entry]] = {}
    for rule, entry in sorted(found):
        concerned.setdefault(rule, []).append(program.rules[rule].entries[entry])
    return concerned


def _own_nodes(of: NodeClass) -> dict[int, list[Entry]]:
    """The rules to a user's own nodes. Their sources are these very nodes, as far as postures hold: so rules
    that differ only in ports are told as the first of them."""
    rules, first, found = of.program.rules, dict[Hashable, int](), dict[int, list[Entry]]()
    for number in indices(of.program.reach.self_targets(of.standing.mask)):
        rule = rules[number]
        likeness = (rule.protocol, rule.postures) if rule.caps is None else number
        found.setdefault(first.setdefault(likeness, number), []).extend(rule.entries)
    return found


class _Here:
    """What the entries of rules are to nodes of one class."""

    def __init__(self, of: NodeClass) -> None:
        self._of = of
        self._own = of.standing.own
        self._literals = of.program.atoms.literals
        self._spans = of.program.atoms.spans
        addresses = spans.of(self._own.addresses) if self._own else spans.NONE
        self._place = Place(addresses, spans.of(of.subnets), of.is_exit)

    def delivery(self, rule: Rule, entries: list[Entry]) -> Delivery:
        user = self._of.standing.user if rule.is_self else None
        if rule.caps is not None:
            grants = (CapGrant(dsts=dsts, cap_map=rule.caps) for dsts in self._granted(rule, entries) if dsts)
            return Delivery(rule.number, user, grants=tuple(grants))
        ports = (
            NetPortRange(text, ports)
            for entry in entries
            for text in self._texts(rule, entry.destination)
            for ports in entry.ports
        )
        return Delivery(rule.number, user, ports=tuple(dict.fromkeys(ports)))

    def _texts(self, rule: Rule, destination: Selector) -> Iterable[str]:
        """How the destination is spelled, as far as it concerns these nodes."""
        number = self._literals.get(destination)
        if number is not None:
            return map(spelling(destination), self._pieces(rule, number))
        if rule.via:
            return ()
        return ("*",) if self._own is None or destination == ANY else self._own.addresses

    def _pieces(self, rule: Rule, number: int) -> Spans:
        of, pieces = self._of, self._spans[number]
        is_internet = bool(of.program.reach.internet >> number & 1)
        if rule.via:
            is_router = of.via_targets >> rule.number & 1
            return self._place.routed(pieces, is_internet=is_internet) if is_router else ()
        return pieces if self._own is None else self._place.concerned(pieces, is_internet=is_internet)

    def _granted(self, rule: Rule, entries: list[Entry]) -> Iterator[Addresses]:
        """The prefixes of each entry on which the capabilities are granted."""
        is_meant = not rule.target_postures or bool(self._of.standing.mask & rule.target_postures)
        for entry in entries:
            number = self._literals.get(entry.destination)
            if number is None:
                yield (ANYWHERE if self._own is None else prefixes(self._place.addresses)) if is_meant else ()
            elif self._own is None:
                yield prefixes(self._spans[number]) if is_meant else ()
            else:
                yield self._place.granted(self._spans[number], to_node=is_meant)


def spelling(destination: Selector) -> Callable[[Span], str]:
    """How the pieces of a literal destination are written."""
    return spans.ranged if destination == INTERNET else spans.spelled
