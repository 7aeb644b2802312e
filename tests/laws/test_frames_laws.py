"""What a process keeps of a tailnet from version to version never shows in what it tells.

`Frames` is used as the hub does: it moves over several versions at a time or over many that change nothing,
whole netmaps are asked for at some of them only, and sessions sleep through others.
"""

from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.laws import test_netmap_laws as of_rows
from tests.policy_strategies import (
    CHANGES,
    NODES,
    ROUTERS,
    Change,
    changed,
    policies,
    policies_about_routers,
    some_of,
    states,
)
from tests.tailnets import EPOCH, next_version

from headscale_saas.live.cache import Snapshot
from headscale_saas.live.frames import MOST_STEPS, Frames, pack, pack_delta, pack_one
from headscale_saas.netmap.delta import delta, own_delta
from headscale_saas.netmap.full import full_pieces, full_response, pieces_without_peers
from headscale_saas.netmap.peers import Book, Fragments
from headscale_saas.netmap.pieces import joined
from headscale_saas.netmap.view import Environment, View
from headscale_saas.policy import Compiled, advance, compile_policy
from headscale_saas.tailnet.changes import NOTHING, Touched, union
from headscale_saas.tailnet.model import NodeId
from headscale_saas.tailnet.state import TailnetState
from headscale_saas.wire.mapframe import FrameReader, decompress

LAWS = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


ALL = sorted(map(NodeId, {1, 2, 3, 31, 32, 33, 64, 65}))


class Version(NamedTuple):
    state: TailnetState
    environment: Environment
    touched: Touched


class History(NamedTuple):
    """`compiled` is the policy of the first version; it advances with the process."""

    compiled: Compiled
    versions: list[Version]


def histories_of_rows() -> st.SearchStrategy[History]:
    return of_rows.histories().map(
        lambda steps: History(
            steps[0].compiled, [Version(step.state, step.environment, step.touched) for step in steps]
        )
    )


@st.composite
def histories_of_policies(draw: st.DrawFn) -> History:
    """In every other one it matters who routes."""
    state, changes = draw(states()), CHANGES | st.builds(Change, st.just("policy"), st.just(0), policies())
    if draw(st.booleans()):
        state = draw(states(policies_about_routers(), ROUTERS))
        changes = CHANGES | st.builds(Change, st.just("node"), NODES, some_of(ROUTERS))
    environment = of_rows.ENVIRONMENTS[0]
    versions = [Version(state, environment, NOTHING)]
    for change in draw(st.lists(changes, min_size=3, max_size=8)):
        after, touched = changed(versions[-1].state, change)
        versions.append(Version(after, environment, touched))
    return History(compile_policy(state.policy_text, state), versions)


class Process:
    """Its frames, and the view that each connected node was sent last."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.frames = Frames(snapshot)
        self.sent: dict[NodeId, View] = {}

    def move(self, versions: Iterable[Version]) -> None:
        """Several versions are caught up with in one step."""
        *_, last = versions = list(versions)
        before, touched = self.snapshot, union(version.touched for version in versions)
        compiled = advance(before.compiled, before.state, last.state, touched)
        self._publish(Snapshot(last.state, compiled, last.environment), touched)
        self.sent = {node_id: view for node_id, view in self.sent.items() if node_id in last.state.nodes}

    def idle(self) -> None:
        """So long that it is not remembered any more what was touched."""
        for _ in range(MOST_STEPS):
            before = self.snapshot
            state = before.state.replace(next_version(before.state), {}, {}, before.state.policy_text)
            self._publish(Snapshot(state, before.compiled, before.environment), NOTHING)

    def lose_the_thread(self, version: Version) -> None:
        """A failover: what is loaded then may be another history, in which rows of ours never were."""
        compiled = compile_policy(version.state.policy_text, version.state)
        self._publish(Snapshot(version.state, compiled, version.environment), None)
        self.sent = {node_id: view for node_id, view in self.sent.items() if node_id in version.state.nodes}

    def view(self, node_id: NodeId) -> View:
        return self.frames.view(self.snapshot.state.nodes[node_id])

    def _publish(self, snapshot: Snapshot, touched: Touched | None) -> None:
        self.frames.advance(snapshot, touched)
        self.snapshot = snapshot


@LAWS
@given(histories_of_rows(), st.data())
def test_rows_may_change_behind_what_is_kept(history: History, data: st.DataObject) -> None:
    _demand_what_the_views_say(history, data)


@LAWS
@given(histories_of_policies(), st.data())
def test_policies_may_change_behind_what_is_kept(history: History, data: st.DataObject) -> None:
    _demand_what_the_views_say(history, data)


def _demand_what_the_views_say(history: History, data: st.DataObject) -> None:
    """Whoever comes or stays is told just that, by what was made for others."""
    first, *rest = history.versions
    process = Process(Snapshot(first.state, history.compiled, first.environment))
    for node_id in first.state.nodes:
        _demand_the_whole(process, node_id, is_warm=False)
    while rest:
        if data.draw(st.integers(0, 9), label="idle") == 9:
            process.idle()
        count = data.draw(st.integers(1, 2), label="versions at once")
        if data.draw(st.integers(0, 4), label="failover") == 4:
            process.lose_the_thread(rest[:count][-1])
        else:
            process.move(rest[:count])
        rest = rest[count:]
        asleep = data.draw(st.sets(st.sampled_from(ALL)), label="asleep") if rest else set()
        are_all_alike = data.draw(st.booleans(), label="told what all are told")
        for node_id in process.snapshot.state.nodes.keys() - asleep:
            _demand_the_difference(process, node_id, are_all_alike=are_all_alike)
        come = data.draw(st.sets(st.sampled_from(ALL)), label="come") if rest else set(ALL)
        is_warm = data.draw(st.booleans(), label="warm")
        for node_id in process.snapshot.state.nodes.keys() & come:
            _demand_the_whole(process, node_id, is_warm=is_warm)


def _demand_the_whole(process: Process, node_id: NodeId, *, is_warm: bool) -> None:
    """From a book that served others before, at other versions."""
    frames, view = process.frames, process.view(node_id)
    if is_warm:
        for _ in frames.warming(view.viewer):
            pass
    pieces = full_pieces(view, frames.book(view), EPOCH)
    text = full_response(view, EPOCH)
    assert joined(pieces) == text
    assert _read(pack(pieces, compressed=True), compressed=True) == [text]
    fresh = joined(pieces_without_peers(view, Book(Fragments()), EPOCH))
    assert joined(pieces_without_peers(view, frames.book(view), EPOCH)) == fresh
    process.sent[node_id] = view


def _demand_the_difference(process: Process, node_id: NodeId, *, are_all_alike: bool) -> None:
    """From what is computed and compressed for all of its class, and for other classes."""
    before = process.sent.get(node_id)
    if before is None:
        return
    frames, view = process.frames, process.view(node_id)
    wanted = list(delta(before, view))
    passing = frames.passing(before.of_class) if are_all_alike else None
    for compressed in (False, True):
        if passing is not None and node_id not in passing.concerned:
            assert passing.after is view.of_class
            assert before.viewer is view.viewer
            told = passing.packed(compressed=compressed)
        else:
            for _ in frames.telling(before.of_class, view.viewer):
                pass
            own, shared = own_delta(before, view), frames.shared(before.of_class, view.of_class)
            told = b"" if own is None else pack_one(own, compressed=compressed)
            told += pack_delta(shared, node_id, compressed=compressed)
        assert _read(told, compressed=compressed) == wanted
    process.sent[node_id] = view


def _read(data: bytes, *, compressed: bool) -> list[bytes]:
    """The messages, as the client takes them out of the stream."""
    messages = FrameReader().feed(data)
    return [decompress(message) if compressed else message for message in messages]
