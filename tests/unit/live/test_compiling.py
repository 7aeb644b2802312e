"""Policies that are compiled beside the loop, while the tailnet moves on."""

import asyncio

from headscale_saas.live.compiling import SMALL_TEXT, Compiling
from headscale_saas.tailnet.model import TailnetId
from headscale_saas.tailnet.state import TailnetState
from tailnets import make_node, make_state

LARGE = '{"acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["*:22"]}]}' + " " * SMALL_TEXT
TAILNET = TailnetId(1)


def state_of(*numbers: int) -> TailnetState:
    state = make_state(*map(make_node, numbers))
    return TailnetState(state.tailnet, state.nodes, state.users, LARGE)


async def test_a_policy_that_is_ready_holds_for_whoever_joined_since_it_was_begun() -> None:
    """Also if the tailnet had another policy meanwhile: then they are not new to whoever asks."""
    compiling, ready, state = Compiling(), asyncio.Event(), state_of(2, 3)
    compiling.ready = lambda _tailnet: ready.set()
    assert compiling.compiled(TAILNET, state_of(1)) is None
    await ready.wait()
    compiled = compiling.compiled(TAILNET, state)
    compiling.close()
    assert compiled is not None
    for node in state.nodes.values():
        assert compiled.peers(compiled.audience(node)) is None, "everybody"
