"""The `sshTests` of a policy: who must, and who must not be able to log in by SSH, given the nodes of now.

The rules of `ssh` alone decide; whether the network lets anyone through to port 22 is not asked.
"""

from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

from headscale_saas.policy import spans
from headscale_saas.policy.answers.connections import Connections
from headscale_saas.policy.language.document import Document, SshTest
from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.selectors import ANY, SELF, Selector
from headscale_saas.policy.members import is_live
from headscale_saas.policy.ssh.rules import CompiledRule, SshRules, Standpoint
from headscale_saas.policy.testing.tested import ALLOWED, DENIED, OF_NODES, Budget, Failure, Resolver
from headscale_saas.tailnet.model import Node, User, UserId

VIA_CHECK = "ALLOWED via check"
VIA_ACCEPT = "ALLOWED via accept"


def run_ssh_tests(
    connections: Connections, document: Document, rules: SshRules, budget: Budget
) -> Iterator[Failure]:
    """The failures, in the file's order. Raises LimitReached."""
    runner = _Runner(connections, document, rules, budget)
    for test in document.ssh_tests:
        yield from runner.run(test)


class _Source(NamedTuple):
    """One of the nodes that no rule tells apart."""

    node: Node
    mask: int
    user: User | None


class _Target(NamedTuple):
    """One of the nodes that no rule tells apart. `is_self`: only for devices of the same user."""

    node: Node
    standpoint: Standpoint
    is_self: bool


class _Sources:
    def __init__(self, sources: Iterable[_Source]) -> None:
        self._all = list(sources)
        self._by_user: dict[UserId | None, list[_Source]] = {}
        for source in self._all:
            self._by_user.setdefault(source.node.user_id, []).append(source)

    def of(self, target: _Target) -> list[_Source]:
        """Those that the test speaks of at this target."""
        return self._by_user.get(target.node.user_id, []) if target.is_self else self._all


class _Runner(Resolver):
    def __init__(self, connections: Connections, document: Document, rules: SshRules, budget: Budget) -> None:
        super().__init__(connections, document, budget)
        self._rules = rules

    def run(self, test: SshTest) -> Iterator[Failure]:
        try:
            _check_shape(test)
            nodes = self._nodes(test.source)
            targets = list(self._targets(test.destinations, nodes))
        except Malformed as malformed:
            yield Failure(position=test.position, source=test.source, reason=str(malformed))
            return
        sources = self._sources(test, nodes)
        for expected, logins in ((ALLOWED, test.accept), (VIA_CHECK, test.check), (DENIED, test.deny)):
            for login in logins:
                yield from self._judge(test, sources, targets, login, expected)

    def _judge(
        self, test: SshTest, sources: _Sources, targets: list[_Target], login: str, expected: str
    ) -> Iterator[Failure]:
        for target in targets:
            rules_asked = (target.standpoint.everyone | target.standpoint.own).bit_count()
            self._budget.spend(rules_asked * len(sources.of(target)))
            for source in sources.of(target):
                rules = self._rules.letting_in(target.standpoint, *source, login)
                if got := _got(rules, expected):
                    yield Failure(
                        position=test.position,
                        source=f"{test.source}/{login}",
                        destination=target.node.name,
                        expected=expected,
                        got=got,
                    )

    def _sources(self, test: SshTest, nodes: list[Node]) -> _Sources:
        told = self._connections.postures(test.posture_attributes)
        found: dict[Hashable, _Source] = {}
        for node in nodes:
            mask = self._connections.mask(node, told)
            found.setdefault((mask, node.user_id), _Source(node, mask, self._connections.owner(node)))
        return _Sources(found.values())

    def _targets(self, words: Iterable[str], sources: list[Node]) -> Iterator[_Target]:
        found: dict[Hashable, _Target] = {}
        for word in words:
            is_self = word == SELF.name
            for node in self._own(sources) if is_self else self._nodes(word):
                standpoint = self._rules.standpoint(node, self._connections.mask(node))
                key = (standpoint, is_self, node.user_id if is_self else None)
                found.setdefault(key, _Target(node, standpoint, is_self))
        return iter(found.values())

    def _nodes(self, word: str) -> list[Node]:
        """At least one: a test about nobody says nothing."""
        selector = self.selector(word)
        is_of_nodes = selector == ANY or selector.kind in OF_NODES
        nodes = self.members(selector) if is_of_nodes else self._placed_nodes(selector)
        if not nodes:
            raise Malformed(f"{quoted(word)} matches no node")
        return nodes

    def _placed_nodes(self, selector: Selector) -> list[Node]:
        low, high = self.span(selector)
        node = self._connections.at(spans.address(low)) if low == high else None
        return [node] if node is not None and is_live(node) else []

    def _own(self, sources: list[Node]) -> list[Node]:
        """All devices of the users who are sources."""
        users = {node.user_id for node in sources if node.user_id is not None}
        own = [node for node in self.members(ANY) if node.user_id in users]
        if not own:
            raise Malformed("autogroup:self needs a source that is a user")
        return own


def _check_shape(test: SshTest) -> None:
    logins = (*test.accept, *test.check, *test.deny)
    if not logins:
        raise Malformed('test entry must have at least one of "accept", "check" and "deny"')
    if not all(login.strip() for login in logins):
        raise Malformed("a login name is empty")
    if not test.source:
        raise Malformed("SSH tests entry must have a non-empty src")
    if not test.destinations:
        raise Malformed("SSH tests entry must have at least one dst")


def _got(rules: Iterable[CompiledRule], expected: str) -> str:
    """What was got instead of what was expected; "" if it was that."""
    rules = list(rules)
    is_checked = any(rule.is_check for rule in rules)
    if expected == VIA_CHECK:
        return "" if is_checked else VIA_ACCEPT if rules else DENIED
    return "" if bool(rules) == (expected == ALLOWED) else ALLOWED if rules else DENIED
