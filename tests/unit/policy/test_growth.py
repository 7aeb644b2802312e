"""A tailnet that grows after its policy was accepted: filters stay bounded, nobody gets in by accident."""

import json
from collections.abc import Iterable

import pytest

from headscale_saas.policy import Compiled, advance, check, compile_policy, compile_whole
from headscale_saas.policy.filtering import MOST_EVER, MOST_FILTER_BYTES, MOST_FILTERS_BYTES
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.steps import LET_IN
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId, UserId
from headscale_saas.tailnet.state import TailnetState
from tailnets import make_node, make_state, make_user, with_nodes

RULES = 900
PEOPLE = 1400
AT_ONCE = 20
SERVER = NodeId(1)


def member(number: int) -> Node:
    return make_node(number, user_id=UserId(1))


def tailnet(members: int) -> TailnetState:
    """A server, and who wants to reach it: near the limit, each has a good deal of its filter."""
    server = make_node(SERVER, tags=("tag:server",), user_id=None)
    nodes = (server, *(member(number) for number in range(2, members + 2)))
    return with_policy(make_state(*nodes, users=(make_user(1, email="user1@example.com"),)))


def with_policy(state: TailnetState) -> TailnetState:
    """Each rule has sources of its own, so that nothing can be joined."""
    acls = [
        {"action": "accept", "src": ["autogroup:member", f"192.0.2.{n % 256}/32"], "dst": [f"tag:server:{n}"]}
        for n in range(1, RULES)
    ]
    acls.append({"action": "accept", "src": ["10.1.0.0/16"], "dst": ["*:1"]})
    text = json.dumps({"tagOwners": {"tag:server": []}, "acls": acls})
    return state.replace(state.tailnet, {}, {}, text)


def step(compiled: Compiled, before: TailnetState, after: TailnetState, *ids: int) -> Compiled:
    """As a process goes on: the server's client is connected, so its filter is asked for."""
    result = advance(compiled, before, after, Touched(nodes=frozenset(map(NodeId, ids))))
    told(result, after)
    return result


def told(compiled: Compiled, state: TailnetState) -> frozenset[str]:
    """Who may reach the server."""
    filters = compiled.filters(compiled.audience(state.nodes[SERVER]))
    return frozenset(text for chunk in filters.values() for rule in chunk for text in rule.src_ips)


def size(compiled: Compiled, state: TailnetState) -> int:
    return len(encode(dict(compiled.filters(compiled.audience(state.nodes[SERVER])))))


def are_let_in(compiled: Compiled, state: TailnetState, ids: Iterable[int]) -> bool:
    addresses = {str(state.nodes[NodeId(number)].ipv4) for number in ids}
    return addresses <= told(compiled, state)


def is_let_in(compiled: Compiled, state: TailnetState, number: int) -> bool:
    return are_let_in(compiled, state, [number])


@pytest.fixture(scope="module")
def full() -> tuple[Compiled, TailnetState]:
    """Accepted once, and then grown by some nodes at a time until its filters are full."""
    state = tailnet(PEOPLE)
    check(state.policy_text or "", state)
    compiled = compile_policy(state.policy_text, state)
    assert not compiled.is_full
    while not compiled.is_full:
        number = max(state.nodes) + 1
        newcomers = range(number, number + AT_ONCE)
        after = with_nodes(state, *map(member, newcomers))
        compiled, state = step(compiled, state, after, *newcomers), after
    with pytest.raises(PolicyError, match="more than 16 MiB"):
        check(state.policy_text or "", state)
    return compiled, state


def test_who_was_there_keeps_what_he_had_and_newcomers_are_let_in_nowhere(
    full: tuple[Compiled, TailnetState],
) -> None:
    compiled, state = full
    number, there, before = max(state.nodes) + 1, sorted(state.nodes)[1:], size(*full)
    for newcomer in range(number, number + AT_ONCE):
        after = with_nodes(state, member(newcomer))
        compiled, state = step(compiled, state, after, newcomer), after
    assert are_let_in(compiled, state, there)
    assert not any(is_let_in(compiled, state, one) for one in (number, number + AT_ONCE - 1))
    assert size(compiled, state) == before


def test_newcomers_are_told_of_what_they_let_in(full: tuple[Compiled, TailnetState]) -> None:
    compiled, state = full
    newcomer = member(max(state.nodes) + 1)
    after = with_nodes(state, newcomer)
    compiled = step(compiled, state, after, newcomer.id)
    filters = compiled.filters(compiled.audience(newcomer))
    assert [rule.src_ips for chunk in filters.values() for rule in chunk] == [("10.1.0.0/16",)]


def test_who_leaves_is_let_in_no_more(full: tuple[Compiled, TailnetState]) -> None:
    """However full: never more than the policy says."""
    compiled, state = full
    left = state.nodes[NodeId(2)]
    after = with_nodes(state, gone=(2,))
    compiled = step(compiled, state, after, 2)
    assert str(left.ipv4) not in told(compiled, after)


def test_when_there_is_room_again_those_left_out_are_let_in_by_and_by(
    full: tuple[Compiled, TailnetState],
) -> None:
    compiled, state = full
    number = max(state.nodes) + 1
    newcomers = range(number, number + 2 * LET_IN)
    after = with_nodes(state, *map(member, newcomers))
    compiled, state = step(compiled, state, after, *newcomers), after
    leaving = tuple(range(2, 2 + 3 * LET_IN))
    after = with_nodes(state, gone=leaving)
    compiled, state = step(compiled, state, after, *leaving), after
    compiled = step(compiled, state, state, SERVER)
    assert are_let_in(compiled, state, newcomers[:LET_IN])
    assert not is_let_in(compiled, state, newcomers[LET_IN])
    for _ in range(5):
        compiled = step(compiled, state, state, SERVER)
    assert are_let_in(compiled, state, newcomers)
    assert size(compiled, state) < size(*full)
    leaving = tuple(range(500, 700))
    after = with_nodes(state, gone=leaving)
    compiled = step(step(compiled, state, after, *leaving), after, after, SERVER)
    assert not compiled.is_full


def test_a_process_that_starts_then_lets_in_the_oldest(full: tuple[Compiled, TailnetState]) -> None:
    """As many as there is room for."""
    state = with_nodes(full[1], *map(member, range(3000, 3200)))
    compiled = compile_whole(state.policy_text, state)
    assert compiled.is_full
    assert size(compiled, state) <= MOST_FILTER_BYTES * 1.1, "sizes are estimates"
    sources, members = told(compiled, state), sorted(state.nodes)[1:]
    let_in = [number for number in members if str(state.nodes[number].ipv4) in sources]
    assert let_in == members[: len(let_in)]
    assert PEOPLE - PEOPLE // 20 < len(let_in) < len(state.nodes) - 100


def test_a_great_many_at_once_do_not_make_it_larger_than_twice_that(
    full: tuple[Compiled, TailnetState],
) -> None:
    state = tailnet(PEOPLE)
    compiled = compile_policy(state.policy_text, state)
    told(compiled, state)
    newcomers = range(3000, 5500)
    after = with_nodes(state, *map(member, newcomers))
    compiled = step(compiled, state, after, *newcomers)
    assert size(compiled, after) <= MOST_EVER * MOST_FILTER_BYTES * 1.1
    assert step(compiled, after, with_nodes(after, member(6000)), 6000).is_full


def test_nodes_with_filters_of_their_own_do_not_fill_the_process() -> None:
    """A subnet router has its own addresses in every rule, so nobody shares its filter."""
    acls = [
        {"action": "accept", "src": ["autogroup:member", f"192.0.2.{n}"], "dst": [f"autogroup:member:{n}"]}
        for n in range(1, 200)
    ]
    members = make_state(*map(member, range(1, 200)), users=(make_user(1, email="user1@example.com"),))
    state = members.replace(members.tailnet, {}, {}, json.dumps({"acls": acls}))
    check(state.policy_text or "", state)
    compiled = compile_policy(state.policy_text, state)
    assert len(compiled.filters(compiled.audience(state.nodes[NodeId(1)]))) > 190
    routers = [
        make_node(n, user_id=UserId(1), routable_ips=(f"10.0.{n % 256}.0/24",)) for n in range(200, 600)
    ]
    closed = 0
    for router in routers:
        after = with_nodes(state, router)
        compiled = advance(compiled, state, after, Touched(nodes=frozenset({router.id})))
        state = after
        filters = compiled.filters(compiled.audience(router))
        closed += not any(filters.values())
    assert compiled.is_full
    assert closed > len(routers) // 10, "nothing comes in"
    assert size_of_all(compiled, state) <= MOST_EVER * MOST_FILTERS_BYTES * 1.1
    first = compiled.audience(state.nodes[NodeId(1)])
    assert len(compiled.filters(first)) > 190, "who was there"


def size_of_all(compiled: Compiled, state: TailnetState) -> int:
    chunks = {
        id(chunk): chunk
        for node in state.nodes.values()
        for chunk in compiled.filters(compiled.audience(node)).values()
    }
    return sum(len(encode(chunk)) for chunk in chunks.values())
