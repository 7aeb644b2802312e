"""The policy engine decides as the language is specified, however a state was reached.

Policies and tailnets are made at random; `policy_oracle` says what must come out, pair by pair.
"""

import json
from itertools import pairwise
from typing import NamedTuple

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.policy_oracle import grants, reach, ssh
from tests.policy_oracle.client import rules_of, ssh_decision
from tests.policy_oracle.states import world_of
from tests.policy_probes import (
    answers,
    as_json,
    described,
    engine_verdicts,
    oracle_verdicts,
    pairs_of,
    told_of,
    wire_rules,
)
from tests.policy_strategies import (
    CHANGES,
    NODES,
    ROUTERS,
    Change,
    changed,
    policies_about_routers,
    states,
)
from tests.tailnets import make_node, make_state

from headscale_saas.policy import Compiled, advance, compile_policy
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import NodeId
from headscale_saas.tailnet.state import TailnetState

LAWS = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
LOGIN_NAMES = ("root", "deploy", "alice", "carol", "somebody")


def compiled_for(state: TailnetState) -> Compiled:
    note(described(state))
    return compile_policy(state.policy_text, state)


@LAWS
@given(states())
def test_clients_let_in_what_the_policy_says(state: TailnetState) -> None:
    compiled, world = compiled_for(state), world_of(state)
    for node in state.nodes.values():
        assert engine_verdicts(compiled, world, node) == oracle_verdicts(world, node)


@LAWS
@given(states())
def test_nodes_see_whom_a_rule_connects_them_with(state: TailnetState) -> None:
    compiled, world = compiled_for(state), world_of(state)
    for a, b in pairs_of(state):
        wanted = reach.visible(world, world.device(a.id), world.device(b.id))
        assert compiled.sees(compiled.audience(a), b) == wanted
        assert compiled.sees(compiled.audience(b), a) == wanted


@LAWS
@given(states())
def test_peers_are_told_with_the_routes_that_are_for_the_viewer(state: TailnetState) -> None:
    compiled, world = compiled_for(state), world_of(state)
    for viewer, peer in pairs_of(state):
        audience, devices = compiled.audience(viewer), (world.device(viewer.id), world.device(peer.id))
        if reach.visible(world, *devices):
            assert compiled.peer_routes(audience, peer) == tuple(sorted(reach.shown_routes(world, *devices)))


@LAWS
@given(states(policies_about_routers(), ROUTERS))
def test_routes_lead_through_the_routers_that_a_grant_names(state: TailnetState) -> None:
    compiled, world = compiled_for(state), world_of(state)
    for viewer, peer in pairs_of(state):
        audience, devices = compiled.audience(viewer), (world.device(viewer.id), world.device(peer.id))
        assert engine_verdicts(compiled, world, viewer) == oracle_verdicts(world, viewer)
        assert compiled.sees(audience, peer) == reach.visible(world, *devices)
        if reach.visible(world, *devices):
            assert compiled.peer_routes(audience, peer) == tuple(sorted(reach.shown_routes(world, *devices)))


@LAWS
@given(states())
def test_who_may_not_take_part_sees_nobody_and_lets_nobody_in(state: TailnetState) -> None:
    compiled = compiled_for(state)
    for node in state.nodes.values():
        if node.expired or not node.authorized:
            audience = compiled.audience(node)
            assert not any(compiled.sees(audience, peer) for peer in state.nodes.values())
            assert not any(compiled.filters(audience).values())
            assert not compiled.ssh_policy(audience).rules


@LAWS
@given(states())
def test_applications_are_told_what_a_peer_may_do(state: TailnetState) -> None:
    compiled, world = compiled_for(state), world_of(state)
    for node, peer in pairs_of(state):
        told = rules_of(as_json(wire_rules(compiled.filters(compiled.audience(node)))))
        here, there = world.device(node.id), world.device(peer.id)
        assert _unordered(reach.united(told, here, there)) == _unordered(
            reach.capabilities(world, here, there)
        )


def _unordered(capabilities: dict[str, list[object]]) -> dict[str, list[str]]:
    return {name: sorted(map(str, values)) for name, values in capabilities.items()}


@LAWS
@given(states())
def test_logins_by_ssh_end_as_the_rules_say(state: TailnetState) -> None:
    compiled, world = compiled_for(state), world_of(state)
    for source, node in pairs_of(state):
        policy = as_json(compiled.ssh_policy(compiled.audience(node)))
        rules = ssh.ssh_rules(world, world.device(node.id), "")
        for address in world.device(source.id).addresses:
            for name in LOGIN_NAMES:
                wanted = ssh_decision(rules, address, name)
                assert ssh_decision(policy.get("rules") or [], address, name) == wanted


@LAWS
@given(states())
def test_nodes_have_the_attributes_that_the_policy_gives_them(state: TailnetState) -> None:
    compiled, world = compiled_for(state), world_of(state)
    for node in state.nodes.values():
        device = world.device(node.id)
        if device.usable:
            told = {name for name in compiled.node_attributes(node) if not name.startswith("one-cgnat")}
            assert told - {"disable-ipv4"} == grants.attributes(world, device) - {"disable-ipv4"}
    for viewer, peer in pairs_of(state):
        audience, devices = compiled.audience(viewer), (world.device(viewer.id), world.device(peer.id))
        if compiled.sees(audience, peer):
            assert compiled.hides_ipv4(audience, peer) == grants.hides_ipv4(world, *devices)
            is_shown = "::/0" in reach.shown_routes(world, *devices)
            suggested = is_shown and grants.suggests_exit_node(world, devices[1])
            assert set(compiled.peer_attributes(audience, peer)) == (
                {"suggest-exit-node"} if suggested else set()
            )


class Step(NamedTuple):
    """One version: the state, what it touched, and its policy as it came from the version before."""

    state: TailnetState
    touched: Touched
    compiled: Compiled
    change: Change | None = None


def advanced(step: Step, change: Change) -> Step:
    note(f"then {change}")
    state, touched = changed(step.state, change)
    return Step(state, touched, advance(step.compiled, step.state, state, touched), change)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    state = draw(states())
    steps = [Step(state, Touched(), compiled_for(state))]
    for change in draw(st.lists(CHANGES, min_size=1, max_size=6)):
        steps.append(advanced(steps[-1], change))
    return steps


@LAWS
@given(histories())
def test_a_policy_that_follows_answers_as_one_made_now(steps: list[Step]) -> None:
    for step in steps:
        assert answers(step.compiled, step.state) == answers(compiled_for(step.state), step.state)


@LAWS
@given(histories())
def test_whoever_may_look_different_is_named(steps: list[Step]) -> None:
    """`moved_since`, over one version and over all of them."""
    for before, after in [*pairwise(steps), (steps[0], steps[-1])]:
        moved = after.compiled.moved_since(before.compiled)
        if moved is None:
            continue
        still = [
            node
            for node_id, node in after.state.nodes.items()
            if node_id not in moved and before.state.nodes.get(node_id) is node
        ]
        for node in still:
            audience = after.compiled.audience(node)
            assert audience == before.compiled.audience(node)
            assert after.compiled.node_attributes(node) == before.compiled.node_attributes(node)
            assert after.compiled.served_routes(node) == before.compiled.served_routes(node)
            for peer in still:
                told = told_of(after.compiled, audience, peer)
                assert peer is node or told == told_of(before.compiled, audience, peer)


@LAWS
@given(histories(), NODES)
def test_who_comes_and_goes_changes_nobodys_filter(steps: list[Step], number: int) -> None:
    """A node goes offline, or comes back: another router may be elected, but filters are the same objects."""
    step = steps[-1]
    if NodeId(number) not in step.state.nodes:
        return
    kinds = {step.compiled.audience(node) for node in step.state.nodes.values()}
    kept = {kind: (step.compiled.filters(kind), step.compiled.ssh_policy(kind)) for kind in kinds}
    is_online = step.state.nodes[NodeId(number)].online
    after = advanced(step, Change("node", number, {"online": not is_online}))
    for node in after.state.nodes.values():
        filters, logins = kept[after.compiled.audience(node)]
        assert after.compiled.filters(after.compiled.audience(node)) is filters
        assert after.compiled.ssh_policy(after.compiled.audience(node)) is logins


@LAWS
@given(histories(), NODES)
def test_what_no_rule_looks_at_changes_nothing(steps: list[Step], number: int) -> None:
    """A report of endpoints, the most frequent change of all, and a setting."""
    step = steps[-1]
    assert advanced(step, Change("settings", 0, "Other")).compiled is step.compiled
    if NodeId(number) in step.state.nodes:
        report = Change("node", number, {"endpoints": ("203.0.113.1:1",)})
        assert advanced(step, report).compiled is step.compiled


def test_a_capability_in_return_connects_nobody_who_may_not_give_it() -> None:
    """Found by the laws: nodes of one user, none of which fits the posture of the only rule."""
    grant = {
        "src": ["autogroup:member"],
        "dst": ["autogroup:self"],
        "app": {"tailscale.com/cap/drive": []},
        "srcPosture": ["posture:mac"],
    }
    text = json.dumps({"grants": [grant], "postures": {"posture:mac": ["node:os == 'macos'"]}})
    state = make_state(make_node(1), make_node(2))
    state = state.replace(state.tailnet, {}, {}, text)
    compiled = compile_policy(text, state)
    assert not any(compiled.sees(compiled.audience(a), b) for a, b in pairs_of(state))
