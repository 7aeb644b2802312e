"""The `tests` of a policy: what must, and what must not be reachable, given the nodes there are now.

As the real service does it: rules to a user's own nodes and via routers do not count, and whatever is wrong
with a test is a test that failed.
"""

from collections.abc import Iterable, Iterator

import msgspec

from headscale_saas.policy import spans
from headscale_saas.policy.answers.connections import Connections
from headscale_saas.policy.answers.questions import BY_DEFAULT, End, Question
from headscale_saas.policy.language.acls import split_target
from headscale_saas.policy.language.document import Document, PolicyTest
from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.ports import WITH_PORTS, parse_ports, parse_protocol
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.selectors import ANY, Kind, Selector
from headscale_saas.policy.spans import Span
from headscale_saas.policy.testing.tested import (
    ALLOWED,
    DENIED,
    OF_NODES,
    Budget,
    Failure,
    Resolver,
    spans_of,
)
from headscale_saas.tailnet.model import Node


def run_tests(connections: Connections, document: Document, budget: Budget) -> Iterator[Failure]:
    """The failures, in the file's order. Raises LimitReached."""
    runner = _Runner(connections, document, budget)
    for test in document.tests:
        yield from runner.run(test)


class _Runner(Resolver):
    def __init__(self, connections: Connections, document: Document, budget: Budget) -> None:
        super().__init__(connections, document, budget)
        questions = connections.questions
        self._questions = [question for question in questions if not question.clause.via]

    def run(self, test: PolicyTest) -> Iterator[Failure]:
        try:
            protocols, sources = self._read(test)
        except Malformed as malformed:
            yield Failure(position=test.position, source=test.source, reason=str(malformed))
            return
        for expected, words in ((ALLOWED, test.accept), (DENIED, test.deny)):
            for word in words:
                yield from self._judge(test, protocols, sources, word, expected)

    def _read(self, test: PolicyTest) -> tuple[frozenset[int], list[End]]:
        if not test.accept and not test.deny:
            raise Malformed('test entry must have at least one of "accept" or "deny"')
        protocol = parse_protocol(test.protocol)
        protocols = BY_DEFAULT if protocol is None else frozenset({protocol})
        told = self._connections.postures(test.posture_attributes)
        ends = (self._connections.source(span, node, told) for span, node in self.sources(test.source))
        # Ends with the same bits are told apart by nothing.
        return protocols, list({end.bits: end for end in ends}.values())

    def _judge(
        self, test: PolicyTest, protocols: frozenset[int], sources: list[End], word: str, expected: str
    ) -> Iterator[Failure]:
        failure = Failure(
            position=test.position,
            source=test.source,
            destination=word,
            protocol=test.protocol,
            expected=expected,
            got=DENIED if expected == ALLOWED else ALLOWED,
        )
        try:
            targets, port = self._targets(word, protocols)
        except Malformed as malformed:
            yield msgspec.structs.replace(failure, reason=f"{quoted(word)}: {malformed}")
            return
        self._budget.spend(len(self._questions) * (1 + len(sources)))
        open_ = [question for question in self._questions if question.opens(protocols, port)]
        is_allowed = all(_reaches(open_, source, targets) for source in sources)
        if is_allowed != (expected == ALLOWED):
            yield failure

    def _targets(self, word: str, protocols: frozenset[int]) -> tuple[list[End], int]:
        host, ports = split_target(word)
        port = _port(ports, protocols)
        if "/" in host:
            raise Malformed("test destination must be a single host, not a CIDR range")
        selector = self.selector(host)
        if selector.kind in (Kind.IPSET, Kind.SERVICE):
            raise Malformed("not valid as a test destination")
        if selector.kind is Kind.USER and not self._has_user(selector):
            raise Malformed("user not found")
        ends = (self._connections.target(span, node) for span, node in self._places(selector))
        return list({end.bits: end for end in ends}.values()), port

    def _has_user(self, selector: Selector) -> bool:
        self._budget.spend(len(self._connections.state.users))
        return self._connections.has_user(selector)

    def _places(self, selector: Selector) -> Iterable[tuple[Span, Node | None]]:
        if selector.kind in OF_NODES or selector == ANY:
            return ((span, node) for node in self.members(selector) for span in spans_of(node))
        span = self.span(selector)
        if span[0] != span[1]:
            raise Malformed("test destination must be a single host, not a CIDR range")
        return [(span, self._connections.at(spans.address(span[0])))]


def _port(ports: str, protocols: frozenset[int]) -> int:
    """One number; 0 is the port of protocols that have none."""
    if ports == "0" and not protocols & WITH_PORTS:
        return 0
    spans_of_ports = parse_ports(ports)
    first = spans_of_ports[0]
    if len(spans_of_ports) != 1 or first.first != first.last or "-" in ports:
        raise Malformed("test destination port must be a single port")
    return first.first


def _reaches(questions: list[Question], source: End, targets: list[End]) -> bool:
    return any(
        question.is_from(source) and any(target.bits & question.targets for target in targets)
        for question in questions
    )
