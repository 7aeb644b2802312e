"""One netmap outside a long poll: whoever is in a large tailnet may ask for many, so it is made in steps."""

from random import Random
from typing import cast

import pytest

from headscale_saas.clock import FakeClock
from headscale_saas.live.cache import Snapshot
from headscale_saas.live.hub import Hub, Queue
from headscale_saas.live.presence import Presence
from headscale_saas.live.session import ByteStream, MapSession
from headscale_saas.netmap.peers import SPAN_BITS
from headscale_saas.netmap.view import Environment, placeholder_derp_map
from headscale_saas.policy import compile_policy
from headscale_saas.tailcfg.codec import decode
from headscale_saas.tailcfg.maps import MapResponse
from headscale_saas.tailnet.model import NodeId
from headscale_saas.wire.mapframe import FrameReader, decompress
from tailnets import make_node, make_state

MANY = 500
FIRST = NodeId(1)


def fetched(*, peers: bool, compressed: bool) -> tuple[int, MapResponse]:
    """In how many steps, and what."""
    state = make_state(*map(make_node, range(1, MANY + 1)))
    snapshot = Snapshot(state, compile_policy(None, state), Environment(placeholder_derp_map(), "a.example"))
    hub = Hub(cast(Queue, None), cast(Presence, None), FakeClock(), Random(1))
    session = MapSession(
        FIRST, state.nodes[FIRST].node_key, cast(ByteStream, None), compressed=compressed, keep_alive=False
    )
    made = hub.fetching(snapshot, session, peers=peers)
    count = 0
    while True:
        try:
            next(made)
        except StopIteration as end:
            (message,) = FrameReader().feed(end.value)
            return count, decode(MapResponse, decompress(message) if compressed else message)
        count += 1


@pytest.mark.parametrize("compressed", [False, True])
def test_peers_are_encoded_some_at_a_step(compressed: bool) -> None:
    steps, told = fetched(peers=True, compressed=compressed)
    assert steps >= MANY >> SPAN_BITS
    assert told.node is not None
    assert [peer.id for peer in told.peers or ()] == list(range(2, MANY + 1))


@pytest.mark.parametrize("compressed", [False, True])
def test_without_peers_none_are_encoded(compressed: bool) -> None:
    steps, told = fetched(peers=False, compressed=compressed)
    assert steps < MANY >> SPAN_BITS
    assert told.node is not None
    assert told.peers is None
    assert told.packet_filters is not None
