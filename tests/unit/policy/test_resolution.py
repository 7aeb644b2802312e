"""A policy that follows the states of a tailnet: what is the same stays the same object."""

import pytest
from msgspec.structs import replace

from headscale_saas.errors import Unavailable
from headscale_saas.policy import advance, compile_policy, compile_whole
from headscale_saas.policy.engine import program_of
from headscale_saas.policy.resolution import NOTHING
from headscale_saas.policy.steps import FEWEST_CLASSES, FORGETTING
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import NodeId, Role, UserId
from policies import acl, advanced, filters_of, grant, resolved
from tailnets import make_node, make_state, make_user, next_version, with_nodes

ROUTE = "10.33.0.0/16"
STATE = make_state(
    make_node(1),
    make_node(2, tags=("tag:a",)),
    make_node(3, tags=("tag:b",), routable_ips=(ROUTE,), approved_routes=(ROUTE,)),
)
RULES = (acl("autogroup:member", "tag:a:22"), grant("*", ROUTE))


def test_a_report_changes_nothing() -> None:
    before = resolved(STATE, *RULES)
    for number in (1, 2, 3):
        row = replace(STATE.nodes[NodeId(number)], endpoints=("203.0.113.1:1",), home_derp=7)
        assert advanced(before, STATE, with_nodes(STATE, row), number) is before


def test_a_join_moves_nobody_else() -> None:
    before = resolved(STATE, *RULES)
    after = advanced(before, STATE, with_nodes(STATE, make_node(4, tags=("tag:a",))), 4)
    assert after is not before
    assert after.moved_since(before) == frozenset()


def test_a_new_tag_moves_the_node() -> None:
    before = resolved(STATE, *RULES)
    state = with_nodes(STATE, make_node(2, tags=("tag:b",)))
    assert advanced(before, STATE, state, 2).moved_since(before) == {2}


def test_a_new_role_moves_all_nodes_of_the_user() -> None:
    before = resolved(STATE, acl("autogroup:admin", "tag:a:22"))
    rows = {UserId(1): make_user(1, role=Role.ADMIN)}
    state = STATE.replace(next_version(STATE), {}, rows, None)
    assert advanced(before, STATE, state, users=(1,)).moved_since(before) == {1}


def test_a_router_that_goes_hands_its_route_on() -> None:
    spare = make_node(4, tags=("tag:b",), routable_ips=(ROUTE,), approved_routes=(ROUTE,))
    state = with_nodes(STATE, spare)
    before = resolved(state, *RULES)
    told = filters_of(before, spare)
    away = with_nodes(state, replace(state.nodes[NodeId(3)], online=False))
    after = advanced(before, state, away, 3)
    assert after.served_routes(spare) == (ROUTE,)
    assert after.moved_since(before) == {3, 4}
    assert filters_of(after, spare) is told


def test_the_class_of_a_viewer_lasts() -> None:
    before = resolved(STATE, *RULES)
    after = advanced(before, STATE, with_nodes(STATE, make_node(4)), 4)
    fresh = resolved(STATE, *RULES)
    node = STATE.nodes[NodeId(1)]
    assert after.audience(node) is before.audience(node)
    assert fresh.audience(node) != before.audience(node), "another program"
    assert fresh.moved_since(before) is None


def test_nodes_that_take_no_part_are_one_audience() -> None:
    expired = make_node(4, expired=True)
    resolution = resolved(with_nodes(STATE, expired), *RULES)
    assert resolution.audience(expired) == NOTHING
    assert dict(resolution.filters(NOTHING)) == {"base": ()}
    assert resolution.peers(NOTHING) == ()
    assert resolution.printed(expired) == ()


def test_classes_that_nobody_is_in_are_forgotten() -> None:
    state, resolution = STATE, resolved(STATE, *RULES)
    most = FORGETTING * FEWEST_CLASSES
    for number in range(2 * most):
        rows = (f"10.{number >> 8}.{number & 255}.0/24",)
        after = with_nodes(state, make_node(3, tags=("tag:b",), routable_ips=rows, approved_routes=rows))
        resolution, state = advanced(resolution, state, after, 3), after
        filters_of(resolution, state.nodes[NodeId(3)])
    assert len(resolution.parts.kinds) <= most + 1
    fresh = resolved(state, *RULES)
    for node in state.nodes.values():
        assert dict(filters_of(resolution, node)) == dict(filters_of(fresh, node))


def test_a_text_is_compiled_and_followed() -> None:
    text = '{"tagOwners": {"tag:a": []}, "acls": [{"action": "accept", "src": ["tag:a"], "dst": ["*:22"]}]}'
    state = STATE.replace(next_version(STATE), {}, {}, text)
    compiled = advance(compile_policy(None, STATE), STATE, state, Touched(policy=True))
    node = state.nodes[NodeId(1)]
    assert compiled.filters(compiled.audience(node)) == compile_whole(text, state).filters(
        compile_policy(text, state).audience(node)
    )
    assert advance(compiled, state, state, Touched()) is compiled


def test_one_program_serves_all_tailnets_with_the_text() -> None:
    assert program_of('{"acls": []}') is program_of('{"acls": []}')


@pytest.mark.parametrize("text", ["not a policy", '{"acls": [{"action": "deny"}]}', '{"acls": 7}'])
def test_a_text_that_is_no_policy_opens_nothing(text: str) -> None:
    for _ in range(2):
        with pytest.raises(Unavailable) as refusal:
            compile_policy(text, STATE)
        assert refusal.value.code == "policy_not_understood"
