"""What the tests of a policy, of both kinds, have in common: how they name nodes, and how they fail."""

from collections.abc import Container, Iterator, Mapping

import msgspec

from headscale_saas.errors import LimitReached
from headscale_saas.policy import spans
from headscale_saas.policy.answers.connections import Connections
from headscale_saas.policy.atoms import ROLES
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.positions import Position
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.recognition import recognise
from headscale_saas.policy.language.selectors import ANY, TAGGED, Kind, Selector
from headscale_saas.policy.members import is_live
from headscale_saas.policy.spans import Span
from headscale_saas.tailnet.model import Node

ALLOWED = "ALLOWED"
DENIED = "DENIED"

MOST_STEPS = 2_000_000
"""Addresses and rules looked at, one by one: a few seconds."""

OF_NODES = frozenset({Kind.USER, Kind.DOMAIN, Kind.GROUP, Kind.TAG, Kind.AUTOGROUP})
"""Kinds of selectors that name nodes, whatever addresses these have."""


class Failure(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One thing that a test wanted and did not get.

    `expected` and `got` are ALLOWED or DENIED (for SSH also how), or "" where the test cannot be run at all;
    then `reason` says why. `str()` is one line in headscale's words.
    """

    position: Position
    source: str
    destination: str = ""
    protocol: str = ""
    expected: str = ""
    got: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"{self.source or 'test'}: {self.reason}"
        protocol = f" ({self.protocol})" if self.protocol else ""
        return f"{self.source} -> {self.destination}{protocol}: expected {self.expected}, got {self.got}"


class Budget:
    """How much all tests of a policy together may look at."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Raises LimitReached when it is used up."""
        self._left -= steps
        if self._left < 0:
            raise LimitReached("the tests of the policy look at too much", code="policy_tests_too_large")


class Resolver:
    """Ends of tests. Raises Malformed, with the reason, where there are none."""

    def __init__(self, connections: Connections, document: Document, budget: Budget) -> None:
        self._budget = budget
        self._connections = connections
        self._document = document
        self._members: dict[Selector, list[Node]] = {}

    def selector(self, word: str) -> Selector:
        """What the word means; it must be defined."""
        selector = recognise(word)
        if selector is None:
            raise Malformed(f"{quoted(word)} is neither an address nor a name")
        defined: Mapping[Kind, Container[str]] = {
            Kind.GROUP: self._document.groups,
            Kind.TAG: self._document.tag_owners,
            Kind.HOST: self._document.hosts,
            Kind.AUTOGROUP: (*ROLES, TAGGED.name),
        }
        if selector.name not in defined.get(selector.kind, (selector.name,)):
            raise Malformed(f"{quoted(word)} is not defined")
        return selector

    def sources(self, word: str) -> list[tuple[Span, Node | None]]:
        """The addresses that a test speaks for, with the nodes that have them."""
        selector = self.selector(word)
        found = (
            self._placed(selector) if selector.kind in (Kind.PREFIX, Kind.HOST) else self._of_nodes(selector)
        )
        if not found:
            raise Malformed(f"source {quoted(word)} resolved to no IP addresses")
        return found

    def members(self, selector: Selector) -> list[Node]:
        """The nodes of a selector for identities; a test is about those that take part."""
        known = self._members.get(selector)
        if known is None:
            self._budget.spend(len(self._connections.state.nodes))
            known = [node for node in self._connections.members(selector) if is_live(node)]
            self._members[selector] = known
        self._budget.spend(2 * len(known))
        return known

    def span(self, selector: Selector) -> Span:
        """Of a prefix or a host."""
        is_host = selector.kind is Kind.HOST
        return spans.span(self._document.hosts[selector.name]) if is_host else spans.of([selector.name])[0]

    def _placed(self, selector: Selector) -> list[tuple[Span, Node | None]]:
        span = self.span(selector)
        node = self._connections.at(spans.address(span[0])) if span[0] == span[1] else None
        return [(span, node)]

    def _of_nodes(self, selector: Selector) -> list[tuple[Span, Node | None]]:
        if selector != ANY and selector.kind not in OF_NODES:
            return []
        return [(span, node) for node in self.members(selector) for span in spans_of(node)]


def spans_of(node: Node) -> Iterator[Span]:
    """Of its addresses, each for itself."""
    for address in (node.ipv4, node.ipv6):
        if address is not None:
            place = spans.number(address)
            yield place, place
