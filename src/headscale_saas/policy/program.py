"""A document, ready to be carried out in any state. It holds nothing of any tailnet."""

from collections.abc import Iterator, Mapping
from itertools import chain

from headscale_saas.policy import spans
from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.attributes import DISABLE_IPV4, Attributes
from headscale_saas.policy.budget import demand_few_capabilities, demand_small
from headscale_saas.policy.clauses import Clause, clauses_of
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.selectors import ANY, Kind, Selector
from headscale_saas.policy.reach import Reach
from headscale_saas.policy.resolving import Literals
from headscale_saas.policy.rules import rules_of
from headscale_saas.policy.ssh.rules import SshRules


class Program:
    """Raises PolicyError for a document that would take too much to carry out.

    `clauses` are what is printed and explained, `rules` what clients are sent; both allow the same.

    `without_ipv4` are the bits of nodes that have no IPv4 address for anybody, `personal` those of nodes to
    which a rule about their user's own nodes may apply, `inside_internet` those of addresses that exit nodes
    pass on. `entries_at` has (rule, entry) by the number of the destination's bit, `receiving` the bits of
    nodes that are told different things.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.clauses = clauses_of(document)
        self.literals = Literals(document)
        self.atoms = Atoms(document, _selectors(document, self.clauses), self.literals)
        self.rules = rules_of(self.clauses, self.atoms)
        demand_small(document, self.literals, self.rules)
        demand_few_capabilities(document, self.rules)
        self.reach = Reach(self.atoms, self.literals, self.rules)
        self.ssh = SshRules(document, self.atoms)
        self.attributes = Attributes(document, self.atoms)
        self.without_ipv4 = _without_ipv4(document, self.atoms)
        self.personal = _personal(self)
        self.entries_at = _entries_at(self)
        self.receiving = _receiving(self)
        self.inside_internet = _inside_internet(self.atoms) | self.reach.internet


def _selectors(document: Document, clauses: tuple[Clause, ...]) -> Iterator[Selector]:
    """Those that say what nodes are told. Who owns tags and approves routes makes nobody look different."""
    # All clauses of one ACL rule have the same list of sources, which may be long.
    yield from chain.from_iterable({id(clause.sources): clause.sources for clause in clauses}.values())
    for clause in clauses:
        yield from clause.destinations
        yield from (Selector(Kind.TAG, tag) for tag in clause.via)
    for rule in document.ssh:
        yield from (*rule.sources, *rule.destinations, *rule.recorders)
    for entry in document.node_attrs:
        yield from entry.targets
    if document.disable_ipv4:
        yield ANY


def _without_ipv4(document: Document, atoms: Atoms) -> int:
    if document.disable_ipv4:
        return atoms.bit(ANY)
    targets = (entry.targets for entry in document.node_attrs if DISABLE_IPV4 in entry.attributes)
    return atoms.bits(chain.from_iterable(targets))


def _personal(program: Program) -> int:
    personal = 0
    for rule in program.rules:
        if rule.is_self:
            personal |= rule.source_mask
    return personal


def _receiving(program: Program) -> int:
    """All that decides what nodes are told, but for their routes."""
    mask = program.personal
    for number in program.entries_at:
        mask |= 1 << number
    for rule in program.rules:
        mask |= rule.target_postures | rule.via
    return mask


def _entries_at(program: Program) -> Mapping[int, list[tuple[int, int]]]:
    table: dict[int, list[tuple[int, int]]] = {}
    for rule in program.rules:
        for index, entry in enumerate(rule.entries):
            number = program.atoms.number(entry.destination)
            if number is not None:
                table.setdefault(number, []).append((rule.number, index))
    return table


def _inside_internet(atoms: Atoms) -> int:
    return sum(
        1 << number
        for number, pieces in atoms.spans.items()
        if any(spans.covers(spans.INTERNET, (piece,)) for piece in pieces)
    )
