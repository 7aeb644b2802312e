"""What a policy needs goes when nothing needs it any more: no circle waits for the garbage collector, which
in a process that serves looks at new things only."""

import gc

import pytest
from tests.policy_bombs import ACCEPTABLE

from headscale_saas.policy import advance, compile_whole, engine
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import NodeId
from headscale_saas.tailnet.state import TailnetState
from tailnets import make_node, make_state, with_nodes


def lived_through(state: TailnetState) -> None:
    """Compiled, told, and told again after a change."""
    compiled = compile_whole(state.policy_text, state)
    after = with_nodes(state, make_node(99))
    later = advance(compiled, state, after, Touched(nodes=frozenset({NodeId(99)})))
    later.moved_since(compiled)
    for node in after.nodes.values():
        audience = later.audience(node)
        later.filters(audience), later.ssh_policy(audience), later.peers(audience)


@pytest.mark.parametrize("name", ["thousands_of_ssh_rules", "thousands_of_via_grants", "doubling_ipsets"])
def test_no_part_of_a_policy_is_in_a_circle(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = (make_node(number, tags=("tag:server",) if number % 10 == 0 else ()) for number in range(1, 40))
    state = make_state(*nodes)
    state = state.replace(state.tailnet, {}, {}, ACCEPTABLE[name]())
    monkeypatch.setattr(engine, "_programs", type(engine._programs)())
    gc.collect()
    gc.disable()
    try:
        lived_through(state)
        engine._programs.clear()
        assert gc.collect() == 0
    finally:
        gc.enable()
