"""Why may this connect to that, or why not? The rules that decide, where they stand, or what is missing."""

from collections.abc import Hashable, Iterable
from itertools import product

from headscale_saas.errors import Invalid, LimitReached
from headscale_saas.policy import spans
from headscale_saas.policy.answers.connections import Connections
from headscale_saas.policy.answers.parties import Parties, Party
from headscale_saas.policy.answers.questions import End, Question
from headscale_saas.policy.answers.verdicts import Missing, Verdict, allowed, denied
from headscale_saas.policy.atoms import indices
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.ports import parse_protocol
from headscale_saas.policy.program import Program
from headscale_saas.tailnet.model import Node
from headscale_saas.tailnet.state import TailnetState

MOST_PAIRS = 2000
"""Of ends. Each is asked of every rule."""
MOST_STEPS = 1_000_000
"""Pairs times rules: about a second."""


def explain(
    program: Program | None,
    state: TailnetState,
    source: str,
    destination: str,
    port: int,
    protocol: str = "tcp",
) -> tuple[Verdict, ...]:
    """One verdict for each pair of ends, or, of very many, for each that rules tell apart. A node's two
    addresses are one end.

    An end is a node's name, an address (of a node, behind a subnet router, on the internet), a host of the
    policy, a login, a group or a tag. `program` None: the tailnet has no policy. `port` does not matter for
    protocols without ports. Raises Invalid for a protocol that is none, NotFound for an end that is nobody,
    and LimitReached if there are too many pairs.
    """
    program = program or Program(Document())
    asker = _Asker(program, state, _protocol(protocol), port)
    sources, targets = asker.parties.named(source), asker.parties.named(destination)
    most = min(MOST_PAIRS, MOST_STEPS // max(len(program.clauses), 1))
    if len(sources) * len(targets) > most:
        sources, targets = asker.told_apart(sources), asker.told_apart(targets)
    if len(sources) * len(targets) > max(most, 1):
        raise LimitReached("too many pairs: ask about one node, user or tag", code="too_many_pairs")
    pairs = [pair for pair in product(sources, targets) if pair[0] != pair[1]] or [(sources[0], targets[0])]
    return tuple(asker.verdict(*pair) for pair in pairs)


class _Asker:
    def __init__(self, program: Program, state: TailnetState, protocol: int, port: int) -> None:
        self._program = program
        self._connections = Connections(program, state)
        self._protocol = protocol
        self._port = port
        self.parties = Parties(self._connections, program.document)

    def told_apart(self, parties: list[Party]) -> list[Party]:
        """One of each kind."""
        has_self = any(question.clause.has_self for question in self._connections.questions)
        kinds: dict[Hashable, Party] = {}
        for party in parties:
            bits = tuple(self._connections.source(span, party.node).bits for span in party.spans)
            user = party.node.user_id if party.node and has_self else None
            kinds.setdefault((bits, party.is_live, user), party)
        return list(kinds.values())

    def verdict(self, source: Party, target: Party) -> Verdict:
        return (
            self._of_liveness(source, target)
            or (self._of_the_way(source, target) if target.node is None else None)
            or self._of_exits(source, target)
            or self._of_rules(source, target)
        )

    def _of_liveness(self, source: Party, target: Party) -> Verdict | None:
        for party, missing in ((source, Missing.SOURCE_AWAY), (target, Missing.DESTINATION_AWAY)):
            if party.node is not None and not party.is_live:
                why = "its key has expired" if party.node.expired else "it is not authorized"
                return denied(source.name, target.name, missing, f"{party.name} takes no part: {why}")
        return None

    def _of_the_way(self, source: Party, target: Party) -> Verdict | None:
        if self.parties.routers(target):
            return None
        if names := _names(self.parties.would_be_routers(target)):
            detail = f"the route to it, advertised by {names}, is not approved"
            return denied(source.name, target.name, Missing.APPROVAL, detail)
        return denied(source.name, target.name, Missing.ROUTE)

    def _of_exits(self, source: Party, target: Party) -> Verdict | None:
        """Rules about a few addresses let them pass an exit node, but do not show it to anybody."""
        if source.node is None or not self.parties.is_beyond_exits(target):
            return None
        verdict, routers = self._of_rules(source, target), self.parties.routers(target)
        if not verdict.is_allowed or source.node in routers or self._uses_exits(source, routers):
            return verdict
        return denied(source.name, target.name, Missing.EXIT)

    def _uses_exits(self, source: Party, exits: list[Node]) -> bool:
        bits = tags = 0
        for span in source.spans:
            bits |= self._connections.source(span, source.node).bits
        for node in exits:
            tags |= self._connections.mask(node)
        reach, rules = self._program.reach, self._program.rules
        named = reach.sources(bits)
        pinned = indices(named & reach.via_over(reach.internet))
        return bool(named & reach.to_internet) or any(rules[number].via & tags for number in pinned)

    def _of_rules(self, source: Party, target: Party) -> Verdict:
        without_ipv4 = [party.name for party in (source, target) if self._is_without_ipv4(party)]
        pairs = [(s, t) for s in source.spans for t in target.spans if _is_v6(s) == _is_v6(t)]
        usable = [pair for pair in pairs if not without_ipv4 or _is_v6(pair[0])]
        verdicts = [self._of_addresses(source, target, *pair) for pair in usable]
        good = (verdict for verdict in verdicts if verdict.is_allowed)
        if verdicts:
            return next(good, verdicts[0])
        hidden = f"the policy leaves {' and '.join(without_ipv4)} without IPv4" if pairs else ""
        return denied(source.name, target.name, Missing.FAMILY, hidden)

    def _is_without_ipv4(self, party: Party) -> bool:
        """Whether nobody is told of its IPv4 address, itself included: so all it has is the other one."""
        node, program = party.node, self._program
        owner = self._connections.owner(node) if node else None
        return node is not None and bool(program.atoms.mask(node, owner) & program.without_ipv4)

    def _of_addresses(self, source: Party, target: Party, from_: spans.Span, to: spans.Span) -> Verdict:
        start = self._connections.source(from_, source.node)
        end = self._connections.target(to, target.node)
        routers = self.parties.routers(target) if target.node is None else []
        tags = 0
        for router in routers:
            tags |= self._connections.mask(router)
        found, missing = self._decided(start, end, tags)
        clauses = [question.clause for question in found]
        if missing is None:
            return allowed(source.name, target.name, clauses)
        return denied(source.name, target.name, missing, clauses=clauses)

    def _decided(self, source: End, target: End, tags: int) -> tuple[list[Question], Missing | None]:
        """The rules that allow it, or those that came closest and what they lack."""
        closest: list[Question] = []
        found = self._connections.questions
        steps = (
            (Missing.SOURCE, lambda question: question.names(source)),
            (Missing.DESTINATION, lambda question: _leads_to(question, source, target)),
            (Missing.POSTURE, lambda question: question.trusts(source)),
            (Missing.ROUTER, lambda question: not question.via or bool(question.via & tags)),
            (Missing.PORTS, lambda question: question.lets_in(self._protocol, self._port)),
        )
        for missing, holds in steps:
            found = [question for question in found if holds(question)]
            if not found:
                return closest, missing
            closest = found
        return found, None


def _leads_to(question: Question, source: End, target: End) -> bool:
    """Rules via routers are about what is behind these, and never about a node."""
    return question.is_to(target, source) and not (question.clause.via and target.node is not None)


def _names(nodes: Iterable[Node]) -> str:
    return ", ".join(node.name for node in nodes)


def _is_v6(span: spans.Span) -> bool:
    return spans.address(span[0]).version == 6


def _protocol(text: str) -> int:
    try:
        return parse_protocol(text or "tcp") or 0
    except Malformed as malformed:
        raise Invalid(str(malformed), field="protocol") from None
