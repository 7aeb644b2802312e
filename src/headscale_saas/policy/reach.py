"""Which rules have a node among their sources or destinations, looked up by the bits of its mask.

Sets of rules are integers: bit n is rule n. So what two kinds of nodes may do to each other is one AND.
"""

from collections.abc import Iterable

from headscale_saas.policy import spans
from headscale_saas.policy.atoms import Atoms, indices
from headscale_saas.policy.language.selectors import ANY, DANGER_ALL
from headscale_saas.policy.resolving import Literals, is_literal
from headscale_saas.policy.rules import Rule

RuleSet = int

Table = dict[int, RuleSet]
"""Number of a selector's bit -> rules."""


class Reach:
    """Rules are of three sorts, each with tables of its own: ordinary ones, those to the user's own nodes
    (`self`), and those via routers, whose destinations count on the routers with their tags only.
    """

    def __init__(self, atoms: Atoms, literals: Literals, rules: Iterable[Rule]) -> None:
        self._atoms = atoms
        self._literals = literals
        self._sources: Table = {}
        self._targets: Table = {}
        self._self_sources: Table = {}
        self._via_targets: Table = {}
        self._via_tags: Table = {}
        self._postured: dict[int, RuleSet] = {}
        self._target_postured: dict[int, RuleSet] = {}
        self._to_any_route: RuleSet = 0
        self.to_internet: RuleSet = 0
        self.via_literals: dict[int, int] = {}
        self.internet = sum(
            1 << number for selector, number in atoms.literals.items() if literals.reaches_internet(selector)
        )
        for rule in rules:
            self._add(rule)

    def sources(self, mask: int) -> RuleSet:
        """Of which rules a node with this mask is a source."""
        return _held(self._postured, mask, _looked_up(self._sources, mask))

    def self_sources(self, mask: int) -> RuleSet:
        """The same for rules to the user's own nodes."""
        return _held(self._postured, mask, self.self_targets(mask))

    def self_targets(self, mask: int) -> RuleSet:
        """Which rules to a user's own nodes are about those of this node's user. (The sources of such a rule
        are users, so all nodes of one are named together; postures may hold for some only.)"""
        return _looked_up(self._self_sources, mask)

    def self_holders(self, mask: int) -> RuleSet:
        """Those of them that a node with this mask is a destination of."""
        return _held(self._target_postured, mask, self.self_targets(mask))

    def sources_over(self, literals: int) -> RuleSet:
        """Which rules have addresses behind a subnet router among their sources: postures do not apply to
        them. `literals` are the bits of the literal selectors that overlap its routes.
        """
        everyone = self._atoms.bits((ANY, DANGER_ALL))
        return _looked_up(self._sources, literals | everyone)

    def targets(self, mask: int) -> RuleSet:
        """Of which ordinary rules a node with this mask is a destination."""
        return _held(self._target_postured, mask, _looked_up(self._targets, mask))

    def targets_over(self, literals: int) -> RuleSet:
        """Which ordinary rules have addresses behind a subnet router among their destinations."""
        return _looked_up(self._targets, literals) | self._to_any_route

    def via_targets(self, mask: int, literals: int) -> RuleSet:
        """Which via rules a router with this mask carries out. `literals` are the bits of the literal
        selectors that overlap the routes it serves or, on an exit node, are shaped from the internet."""
        tagged = _looked_up(self._via_tags, mask)
        return tagged & _looked_up(self._via_targets, literals) if tagged else 0

    def via_over(self, literals: int) -> RuleSet:
        """Which via rules have such destinations, whoever carries them out."""
        return _looked_up(self._via_targets, literals)

    def _add(self, rule: Rule) -> None:
        own = 1 << rule.number
        _add(self._self_sources if rule.is_self else self._sources, rule.source_mask, own)
        if rule.postures:
            self._postured[rule.postures] = self._postured.get(rule.postures, 0) | own
        if rule.target_postures:
            known = self._target_postured.get(rule.target_postures, 0)
            self._target_postured[rule.target_postures] = known | own
        targets = self._atoms.bits(entry.destination for entry in rule.entries)
        if rule.via:
            self.via_literals[rule.number] = targets & self._atoms.literal
            _add(self._via_tags, rule.via, own)
            _add(self._via_targets, targets & self._atoms.literal, own)
        elif not rule.is_self:
            self._add_ordinary(rule, targets, own)

    def _add_ordinary(self, rule: Rule, targets: int, own: RuleSet) -> None:
        _add(self._targets, targets, own)
        # A capability is for a node, so `*` means their addresses there.
        if rule.caps is None and any(entry.destination == ANY for entry in rule.entries):
            self._to_any_route |= own
            self.to_internet |= own
        elif self._covers_internet(rule):
            self.to_internet |= own

    def _covers_internet(self, rule: Rule) -> bool:
        named = [entry.destination for entry in rule.entries if is_literal(entry.destination)]
        if any(self._literals.reaches_internet(selector) for selector in named):
            return True
        covered = spans.union(self._literals.spans(selector) for selector in named)
        wholes = (spans.INTERNET, spans.EVERYTHING_V4, spans.EVERYTHING_V6)
        return any(spans.covers(covered, whole) for whole in wholes)


def _looked_up(table: Table, mask: int) -> RuleSet:
    found = 0
    for number in indices(mask):
        found |= table.get(number, 0)
    return found


def _held(postured: dict[int, RuleSet], mask: int, rules: RuleSet) -> RuleSet:
    """Those whose postures a node with this mask has."""
    for postures, concerned in postured.items():
        if rules & concerned and not mask & postures:
            rules &= ~concerned
    return rules


def _add(table: Table, mask: int, own: RuleSet) -> None:
    for number in indices(mask):
        table[number] = table.get(number, 0) | own
