"""Who registered here just now is known once, for seconds."""

from headscale_saas.control.arrivals import FRESH_SECONDS, MOST, Arrivals
from headscale_saas.store.directory import NodeRef
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailnet.model import NodeId, TailnetId, Version


def a_ref(number: int, node: int = 1, version: int = 3) -> NodeRef:
    key = NodeKey(number.to_bytes(32, "big"))
    machine = MachineKey(bytes([7]) * 32)
    return NodeRef(
        tailnet=TailnetId(1), node=NodeId(node), machine_key=machine, node_key=key, version=Version(version)
    )


def test_an_arrival_is_known_once() -> None:
    arrivals, ref = Arrivals(lambda: 100.0), a_ref(1)
    arrivals.note(ref)
    assert arrivals.take(ref.node_key) is ref
    assert arrivals.take(ref.node_key) is None


def test_of_a_registration_that_was_sent_twice_the_later_version_counts() -> None:
    arrivals, later = Arrivals(lambda: 100.0), a_ref(1, version=4)
    arrivals.note(later)
    arrivals.note(a_ref(1, version=3))
    assert arrivals.take(later.node_key) is later


def test_after_seconds_the_directory_is_asked() -> None:
    now = 100.0
    arrivals, ref = Arrivals(lambda: now), a_ref(1)
    arrivals.note(ref)
    now += FRESH_SECONDS + 0.1
    assert arrivals.take(ref.node_key) is None


def test_of_one_key_the_newest_counts_and_of_too_many_the_oldest_are_forgotten() -> None:
    arrivals = Arrivals(lambda: 100.0)
    refs = [a_ref(number) for number in range(1, MOST + 2)]
    for ref in refs:
        arrivals.note(ref)
    again = a_ref(MOST, node=2)
    arrivals.note(again)
    assert arrivals.take(refs[0].node_key) is None
    assert arrivals.take(refs[1].node_key) is refs[1]
    assert arrivals.take(again.node_key) is again
