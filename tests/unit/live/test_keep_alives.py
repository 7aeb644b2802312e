"""Keep-alives are sent in small steps, in few large tailnets as in many small ones."""

from collections import Counter
from random import Random
from typing import cast

import pytest
from test_books import AtOnce, Recorder, snapshot_of

from headscale_saas.clock import FakeClock
from headscale_saas.live.hub import LOOKS_IN_A_STEP, SESSIONS_IN_A_STEP, Hub, TailnetSessions
from headscale_saas.live.presence import Presence
from headscale_saas.live.session import MapSession
from headscale_saas.tailnet.model import NodeId, TailnetId


@pytest.mark.parametrize(("tailnets", "nodes"), [(1, 100), (100, 1), (40, 7), (4, 25)])
def test_a_step_sends_to_few(tailnets: int, nodes: int) -> None:
    clock, steps = FakeClock(), list[int]()
    hub = hub_with(clock, tailnets, nodes)
    clock.advance(1000)
    for _ in hub._due_keep_alives():
        steps.append(hub.sent["keepalive"] - sum(steps))
    assert hub.sent["keepalive"] == tailnets * nodes
    assert max(steps) <= SESSIONS_IN_A_STEP
    steps = [1 for _ in hub._due_keep_alives()]
    assert len(steps) == tailnets // LOOKS_IN_A_STEP, "nobody is due: a look is cheap"


def hub_with(clock: FakeClock, tailnets: int, nodes: int) -> Hub:
    hub = Hub(AtOnce(), cast(Presence, None), clock, Random(1))
    snapshot = snapshot_of(*range(1, nodes + 1))
    for number in map(TailnetId, range(1, tailnets + 1)):
        here = TailnetSessions(number, snapshot, AtOnce(), clock, Random(1), Counter())
        hub._tailnets[number] = here
        for node in map(snapshot.state.nodes.__getitem__, map(NodeId, range(1, nodes + 1))):
            session = MapSession(node.id, node.node_key, Recorder(), compressed=False, keep_alive=True)
            here.sessions[node.id] = session
            here.catch_up(session)
    return hub
