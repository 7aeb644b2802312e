"""A tailnet without a policy is open, one with a policy nobody can carry out is not."""

import pytest

from headscale_saas.errors import Unavailable
from headscale_saas.policy import advance, compile_policy
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node
from tailnets import make_node, make_state, with_nodes

ROUTE = "10.0.0.0/8"


def test_without_a_policy_everybody_sees_everybody() -> None:
    state = make_state(make_node(1), make_node(2))
    compiled = compile_policy(None, state)
    audience = compiled.audience(state.nodes[1])
    assert compiled.sees(audience, state.nodes[2])
    rules = encode(compiled.filters(compiled.audience(state.nodes[1]))["base"])
    assert rules == b'[{"SrcIPs":["*"],"DstPorts":[{"IP":"*","Ports":{"First":0,"Last":65535}}]}]'


@pytest.mark.parametrize("flaw", [{"expired": True}, {"authorized": False}])
def test_who_may_not_take_part_sees_nobody_but_is_seen(flaw: dict[str, bool]) -> None:
    state = make_state(make_node(1, **flaw), make_node(2))
    compiled = compile_policy(None, state)
    assert not compiled.sees(compiled.audience(state.nodes[1]), state.nodes[2])
    assert compiled.sees(compiled.audience(state.nodes[2]), state.nodes[1])
    assert compiled.filters(compiled.audience(state.nodes[1])) == {"base": ()}


@pytest.mark.parametrize("text", [" ", "not a policy", '{"acls": [{}]}'])
def test_a_policy_that_is_not_understood_never_opens_the_tailnet(text: str) -> None:
    state = make_state(make_node(1))
    with pytest.raises(Unavailable):
        compile_policy(text, state)
    closed = state.replace(state.tailnet, {}, {}, text)
    with pytest.raises(Unavailable):
        advance(compile_policy(None, state), state, closed, Touched(policy=True))


def test_the_lowest_online_router_serves_a_subnet() -> None:
    first, second = router(1, online=False), router(2, online=True)
    state = make_state(first, second)
    compiled = compile_policy(None, state)
    assert compiled.served_routes(first) == ()
    assert compiled.served_routes(second) == (ROUTE,)


def test_a_router_that_comes_back_takes_its_route_again_and_both_count_as_moved() -> None:
    state = make_state(router(1, online=False), router(2, online=True), make_node(3))
    after = with_nodes(state, router(1, online=True))
    before_compiled = compile_policy(None, state)
    compiled = advance(before_compiled, state, after, Touched(nodes=frozenset({1})))
    assert compiled.served_routes(after.nodes[1]) == (ROUTE,)
    assert compiled.served_routes(after.nodes[2]) == ()
    assert compiled.moved_since(before_compiled) == {1, 2}


def test_a_lone_router_keeps_its_route_while_it_is_away() -> None:
    state = make_state(router(1, online=False))
    assert compile_policy(None, state).served_routes(state.nodes[1]) == (ROUTE,)


def test_exit_routes_go_together_and_are_served_by_all() -> None:
    both = ("0.0.0.0/0", "::/0")
    state = make_state(
        router(1, routes=both), router(2, routes=both), router(3, routes=("0.0.0.0/0",), online=True)
    )
    compiled = compile_policy(None, state)
    assert [compiled.served_routes(node) for node in state.nodes.values()] == [both, both, ()]


def router(number: int, *, routes: tuple[str, ...] = (ROUTE,), online: bool = False) -> Node:
    return make_node(number, approved_routes=routes, routable_ips=routes, online=online)
