"""What clauses allow, as rules: all with the same sources, protocol and postures is one rule.

Clients are then sent those sources once. Rules and their numbers depend on the text alone, so that names
made of them stay the same while nodes come and go.
"""

from collections.abc import Hashable, Iterable, Iterator

import msgspec
from msgspec.structs import replace

from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.clauses import Clause, Ports
from headscale_saas.policy.language.selectors import SELF, Kind, Selector
from headscale_saas.tailcfg.node import CapMap

Selectors = tuple[Selector, ...]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """`ports` are () where capabilities are granted, or a route is shown without access to it."""

    destination: Selector
    ports: Ports = ()


class Rule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`caps` None: it is about `protocol` (None = the default set) and ports. A source must have one of the
    `postures` (bits; 0 = no matter), a destination one of `target_postures`: those are of capabilities that
    are granted in return. `via` are the tags of the only routers it is for (0 = it is an ordinary rule).
    """

    number: int
    sources: Selectors
    source_mask: int
    entries: tuple[Entry, ...]
    protocol: int | None = None
    caps: CapMap | None = None
    postures: int = 0
    target_postures: int = 0
    via: int = 0
    is_self: bool = False


def rules_of(clauses: Iterable[Clause], atoms: Atoms) -> tuple[Rule, ...]:
    """In the order of the clauses."""
    joined: dict[Hashable, tuple[Rule, list[Entry]]] = {}
    named = _Named(atoms)
    for clause in clauses:
        for rule in _of_clause(clause, named):
            joined.setdefault(_likeness(rule), (rule, []))[1].extend(rule.entries)
    return tuple(
        replace(rule, number=number, entries=tuple(entries))
        for number, (rule, entries) in enumerate(joined.values())
    )


def _likeness(rule: Rule) -> Hashable:
    """Equal for rules that may be joined. Capabilities may not: in which order they are granted shows."""
    if rule.caps is not None:
        return object()
    return id(rule.sources), rule.protocol, rule.postures, rule.via, rule.is_self


class _Named:
    """Lists of selectors. All clauses of one ACL rule have the same list, which may be long."""

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms
        self._known: dict[int, tuple[Selectors, int]] = {}
        self._distinct: dict[frozenset[Selector], Selectors] = {}

    def sources(self, selectors: Selectors) -> tuple[Selectors, int]:
        """Each once, one object for all lists that name the same; and their bits."""
        known = self._known.get(id(selectors))
        if known is None:
            distinct = tuple(dict.fromkeys(selectors))
            distinct = self._distinct.setdefault(frozenset(distinct), distinct)
            known = self._known[id(selectors)] = distinct, self.atoms.bits(distinct)
        return known


def _of_clause(clause: Clause, named: _Named) -> Iterator[Rule]:
    """Not yet numbered. Where nobody is named as a source, nothing is granted."""
    sources, mask = named.sources(clause.sources)
    rule = Rule(
        number=0,
        sources=sources,
        source_mask=mask,
        entries=(),
        postures=named.atoms.posture_bits(clause.postures),
        via=named.atoms.bits(Selector(Kind.TAG, tag) for tag in clause.via),
    )
    if sources and clause.destinations:
        yield from _towards(clause, clause.destinations, rule, named)
    if sources and clause.has_self and not clause.via:
        yield from _towards(clause, (SELF,), replace(rule, is_self=True), named)


def _towards(clause: Clause, destinations: Selectors, rule: Rule, named: _Named) -> Iterator[Rule]:
    for protocol, ports in clause.ip:
        yield replace(rule, protocol=protocol, entries=tuple(Entry(one, ports) for one in destinations))
    entries = tuple(Entry(one) for one in destinations)
    if clause.via:
        if not clause.ip:
            yield replace(rule, entries=entries)
    elif clause.app:
        yield replace(rule, caps=dict(clause.app), entries=entries)
        for name in clause.companions:
            yield _returned(replace(rule, caps={name: None}), destinations, named)


def _returned(rule: Rule, destinations: Selectors, named: _Named) -> Rule:
    """The capability's other direction. A user's own nodes grant it to each other as it is."""
    if rule.is_self:
        return replace(rule, entries=(Entry(SELF),), postures=0, target_postures=rule.postures)
    targets, mask = named.sources(destinations)
    return replace(
        rule,
        sources=targets,
        source_mask=mask,
        entries=tuple(Entry(source) for source in rule.sources),
        postures=0,
        target_postures=rule.postures,
    )
