"""How much a policy may ask for: what multiplies (addresses by ports, sources by rules) is counted first."""

from collections.abc import Iterable

from headscale_saas.policy import spans
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.resolving import Literals
from headscale_saas.policy.rules import Entry, Rule
from headscale_saas.tailcfg.codec import encode

MOST_POSTURES = 1000
MOST_IPSETS = 1000
MOST_SOURCES = 200_000
MOST_DESTINATIONS = 200_000
MOST_CAPABILITY_BYTES = 128 * 1024
"""Of `app` values and node attributes as JSON: every piece of a rule's sources repeats what it grants."""

A_GRANT = 40
"""What a capability on one destination weighs: more than an address with a port."""
A_RANGE = 100
"""What a range of addresses may be in prefixes."""


def demand_small(document: Document, literals: Literals, rules: Iterable[Rule]) -> None:
    """Raises PolicyError if the policy takes too much time or memory to carry out."""
    _demand(len(document.postures), MOST_POSTURES, "postures")
    _demand(len(document.ipsets), MOST_IPSETS, "ipsets")
    sources = destinations = 0
    for rule in rules:
        sources += sum(len(literals.spans(selector)) or 1 for selector in rule.sources)
        destinations += sum(_weight(rule, entry, literals) for entry in rule.entries)
    _demand(sources, MOST_SOURCES, "sources of rules")
    _demand(destinations, MOST_DESTINATIONS, "destinations with ports")


def demand_few_capabilities(document: Document, rules: Iterable[Rule]) -> None:
    """Raises PolicyError if what nodes are told of capabilities would fill their netmaps."""
    granted = sum(len(encode(rule.caps)) * len(rule.entries) for rule in rules if rule.caps is not None)
    _demand(granted, MOST_CAPABILITY_BYTES, "bytes of capabilities in its grants")
    attributes = sum(len(encode((entry.attributes, entry.app))) for entry in document.node_attrs)
    _demand(attributes, MOST_CAPABILITY_BYTES, "bytes of node attributes")


def _weight(rule: Rule, entry: Entry, literals: Literals) -> int:
    pieces = literals.spans(entry.destination)
    if rule.caps is None:
        return max(len(pieces), 1) * max(len(entry.ports), 1)
    return A_GRANT + sum(1 if spans.is_prefix(piece) else A_RANGE for piece in pieces)


def _demand(count: int, most: int, what: str) -> None:
    if count > most:
        raise PolicyError(f"the policy has {count} {what}, more than {most}", code="too_large")
