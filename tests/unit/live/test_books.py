"""What whole netmaps are put together from is kept while nodes come, and not for ever."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from random import Random

from headscale_saas.clock import FakeClock
from headscale_saas.live.cache import Snapshot
from headscale_saas.live.hub import BOOKS_SECONDS, TailnetSessions
from headscale_saas.live.session import MapSession
from headscale_saas.netmap.view import Environment, placeholder_derp_map
from headscale_saas.policy import compile_policy
from headscale_saas.tailnet.model import NodeId, TailnetId
from tailnets import make_node, make_state


class AtOnce:
    def submit(self, key: Hashable, work: Callable[[], None] | Iterator[None]) -> None:
        for _ in work if isinstance(work, Iterator) else ():
            pass


class Recorder:
    on_close: Callable[[], None] | None = None
    on_writable: Callable[[], None] | None = None
    closed, writable = False, True

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> bool:
        self.written.append(data)
        return True

    def end(self) -> None: ...


def snapshot_of(*numbers: int) -> Snapshot:
    state = make_state(*map(make_node, numbers))
    return Snapshot(
        state, compile_policy(None, state), Environment(placeholder_derp_map(), "control.example")
    )


def test_books_are_kept_while_nodes_come() -> None:
    clock, snapshot = FakeClock(), snapshot_of(1, 2, 3)
    tailnet = TailnetSessions(TailnetId(1), snapshot, AtOnce(), clock, Random(1), Counter())
    books = []
    for number, pause in ((1, BOOKS_SECONDS - 1), (2, BOOKS_SECONDS), (3, 0.0)):
        node, stream = snapshot.state.nodes[NodeId(number)], Recorder()
        tailnet.sessions[node.id] = session = MapSession(
            node.id, node.node_key, stream, compressed=False, keep_alive=False
        )
        tailnet.catch_up(session)
        assert stream.written, "its whole netmap"
        books.append(tailnet.frames.book(tailnet.frames.view(node)))
        clock.advance(pause)
        tailnet.forget_books(clock.monotonic())
    assert books[0] is books[1]
    assert books[1] is not books[2]
