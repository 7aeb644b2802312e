"""What people are told of a policy is what clients do: explanations, and the tests of `ssh` and of rules.

Policies and tailnets are made at random; `golden.client` says what a client makes of what it is sent.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import product

from hypothesis import HealthCheck, given, note, settings
from tests.policy_oracle.client import ssh_decision
from tests.policy_probes import as_json, described, pairs_of, wire_rules
from tests.policy_strategies import states

from golden.client import ClientFilter, Source
from headscale_saas.policy import Compiled, compile_policy, explain
from headscale_saas.policy.answers.connections import Connections
from headscale_saas.policy.answers.parties import Parties, Party
from headscale_saas.policy.answers.verdicts import Missing
from headscale_saas.policy.language import parse
from headscale_saas.policy.program import Program
from headscale_saas.tailnet.model import Node
from headscale_saas.tailnet.state import TailnetState

LAWS = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
ASKED = ((6, 22), (6, 443), (17, 53), (1, 0), (47, 0))
BEHIND = ("10.33.7.5", "10.33.200.1", "10.1.1.1", "192.168.1.9", "8.8.8.8", "1.1.1.1")
LOGIN_NAMES = ("root", "deploy", "alice", "carol", "somebody")


def program_of(state: TailnetState) -> Program | None:
    note(described(state))
    return Program(parse(state.policy_text)) if state.policy_text else None


def sent_to(compiled: Compiled, node: Node) -> ClientFilter:
    return ClientFilter(as_json(wire_rules(compiled.filters(compiled.audience(node)))))


def is_open(filter_: ClientFilter, source: str, destination: str, protocol: int, port: int) -> bool:
    spans = filter_.lets_in(Source(source), destination)
    return any(number == protocol and first <= port <= last for number, first, last in spans)


def leads(routes: tuple[str, ...], destination: str) -> bool:
    return any(ip_address(destination) in ip_network(route) for route in routes)


def live(state: TailnetState) -> Iterator[Node]:
    return (node for node in state.nodes.values() if node.authorized and not node.expired)


def has_ipv4(compiled: Compiled, node: Node) -> bool:
    """One that the policy leaves without it has none, whatever its row says."""
    return node.ipv4 is not None and not compiled.hides_ipv4(compiled.audience(node), node)


@LAWS
@given(states())
def test_an_explanation_says_what_the_node_lets_in(state: TailnetState) -> None:
    program, compiled = program_of(state), compile_policy(state.policy_text, state)
    filters = {node.id: sent_to(compiled, node) for node in state.nodes.values()}
    for source, target in product(live(state), live(state)):
        ends = str(source.ipv4), str(target.ipv4)
        if source is target or not (has_ipv4(compiled, source) and has_ipv4(compiled, target)):
            continue
        for protocol, port in ASKED:
            (verdict,) = explain(program, state, *ends, port, str(protocol))
            assert verdict.is_allowed == is_open(filters[target.id], *ends, protocol, port), (ends, protocol)


@LAWS
@given(states())
def test_an_explanation_says_what_routers_let_through(state: TailnetState) -> None:
    program, compiled = program_of(state), compile_policy(state.policy_text, state)
    parties = Parties(Connections(program or Program(parse("{}")), state), parse("{}"))
    for source, destination in product(live(state), BEHIND):
        if not has_ipv4(compiled, source):
            continue
        (party,) = parties.named(destination)
        routers = parties.routers(party)
        (verdict,) = explain(program, state, str(source.ipv4), destination, 22)
        passes = any(
            is_open(sent_to(compiled, router), str(source.ipv4), destination, 6, 22)
            and (
                router is source
                or leads(compiled.peer_routes(compiled.audience(source), router), destination)
            )
            for router in routers
        )
        assert verdict.is_allowed == passes, (source.id, destination, verdict)
        assert (verdict.missing in (Missing.ROUTE, Missing.APPROVAL)) == (not routers)
        assert isinstance(party, Party)


@LAWS
@given(states())
def test_ssh_tests_ask_what_clients_decide(state: TailnetState) -> None:
    program, compiled = program_of(state), compile_policy(state.policy_text, state)
    if program is None:
        return
    connections = Connections(program, state)
    for source, target in pairs_of(state):
        if not (source.authorized and target.authorized) or source.expired or target.expired:
            continue
        rules = as_json(compiled.ssh_policy(compiled.audience(target)).rules)
        standpoint = program.ssh.standpoint(target, connections.mask(target))
        for login in LOGIN_NAMES:
            mask, user = connections.mask(source), connections.owner(source)
            found = list(program.ssh.letting_in(standpoint, source, mask, user, login))
            told = "check" if any(rule.is_check for rule in found) else "accept" if found else None
            decided = ssh_decision(rules, str(source.ipv4 or source.ipv6), login)
            assert told == (decided[0] if decided else None)
