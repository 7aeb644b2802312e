"""The map sessions of this process, by tailnet, and how a new snapshot reaches them.

For each tailnet one piece of work runs at a time, in slices that the fair queue hands out round-robin,
so a large tailnet delays the others by one slice at most. Steps that arrive while a broadcast runs are
joined into the next one. A session that does not keep up is skipped, and gets a whole netmap when its
stream takes bytes again; nothing is queued for it in the meantime.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from random import Random
from typing import Protocol

from headscale_saas.clock import Clock
from headscale_saas.live.cache import Snapshot, Step
from headscale_saas.live.frames import Deltas, Frames, keep_alive
from headscale_saas.live.presence import Presence
from headscale_saas.live.session import MapSession
from headscale_saas.observe import get_logger
from headscale_saas.tailnet.changes import union
from headscale_saas.tailnet.model import NodeId, TailnetId

# The client gives up after 120 s without a message; between 50 and 60 s is what it is used to.
KEEP_ALIVE_SECONDS = 55

# So many whole netmaps at most between two broadcasts, so that neither starves the other.
WHOLE_NETMAPS_IN_A_ROW = 32

log = get_logger(__name__)


class Queue(Protocol):
    """Runs work in slices, round-robin by key (`transport.fair.FairQueue`)."""

    def submit(self, key: Hashable, work: Callable[[], None] | Iterator[None]) -> None: ...


class Hub:
    """All sessions of this process."""

    def __init__(self, queue: Queue, presence: Presence, clock: Clock, random: Random) -> None:
        self._queue = queue
        self._presence = presence
        self._clock = clock
        self._random = random
        self._tailnets: dict[TailnetId, TailnetSessions] = {}
        self._keep_alives: list[set[MapSession]] = [set() for _ in range(KEEP_ALIVE_SECONDS)]

    def __len__(self) -> int:
        return sum(len(tailnet.sessions) for tailnet in self._tailnets.values())

    @property
    def tailnets(self) -> list[TailnetId]:
        """The tailnets that have a session here."""
        return list(self._tailnets)

    def attach(self, tailnet: TailnetId, snapshot: Snapshot, session: MapSession) -> None:
        """Begins to serve a session; its whole netmap comes first. An older one of the node ends."""
        sessions = self._tailnets.get(tailnet)
        if sessions is None:
            sessions = TailnetSessions(snapshot, Frames(self._clock), self._queue, tailnet)
            self._tailnets[tailnet] = sessions
        replaced = sessions.attach(session)
        if replaced is not None:
            self._forget(tailnet, replaced)
        session.presence = self._presence.started(tailnet, session.node_id, session.close)
        session.stream.on_close = lambda: self._closed(tailnet, session)
        session.stream.on_writable = lambda: sessions.drained(session)
        if session.keep_alive:
            session.turn = self._random.randrange(KEEP_ALIVE_SECONDS)
            self._keep_alives[session.turn].add(session)

    def whole(self, snapshot: Snapshot, session: MapSession, *, peers: bool) -> bytes:
        """One whole netmap for a request that is no stream."""
        return Frames(self._clock).whole(snapshot, session, peers=peers)

    def publish(self, tailnet: TailnetId, step: Step) -> None:
        """Tells the sessions of a tailnet what changed."""
        sessions = self._tailnets.get(tailnet)
        if sessions is not None:
            sessions.publish(step)

    def vanish(self, tailnet: TailnetId) -> None:
        """The tailnet was deleted: its streams end."""
        sessions = self._tailnets.get(tailnet)
        for session in list(sessions.sessions.values()) if sessions else ():
            session.close()

    async def run_keep_alives(self) -> None:
        """Every session gets a keep-alive once in 55 s, at a second of its own."""
        turn = 0
        while True:
            await asyncio.sleep(1)
            turn = (turn + 1) % len(self._keep_alives)
            due = [session for session in self._keep_alives[turn] if not session.needs_full]
            if due:
                self._queue.submit("keep-alive", _send_keep_alives(due))

    async def drain(self, seconds: float) -> None:
        """Ends all streams, spread over `seconds`, so that the clients do not return as one crowd."""
        streams = [s for tailnet in self._tailnets.values() for s in tailnet.sessions.values()]
        self._random.shuffle(streams)
        pause = seconds / max(1, len(streams))
        for session in streams:
            session.close()
            await asyncio.sleep(pause)

    def _closed(self, tailnet: TailnetId, session: MapSession) -> None:
        sessions = self._tailnets[tailnet]
        if sessions.sessions.get(session.node_id) is session:
            del sessions.sessions[session.node_id]
            if not sessions.sessions:
                del self._tailnets[tailnet]
        self._forget(tailnet, session)

    def _forget(self, tailnet: TailnetId, session: MapSession) -> None:
        self._keep_alives[session.turn].discard(session)
        presence, session.presence = session.presence, None
        if presence is not None:
            self._presence.stopped(presence)
        session.stream.on_close = session.stream.on_writable = None
        session.close()


class TailnetSessions:
    """The sessions of one tailnet. `snapshot` is what each of them was sent, or is being sent."""

    def __init__(self, snapshot: Snapshot, frames: Frames, queue: Queue, tailnet: TailnetId) -> None:
        self.sessions: dict[NodeId, MapSession] = {}
        self.snapshot = snapshot
        self._frames = frames
        self._queue = queue
        self._tailnet = tailnet
        self._steps: list[Step] = []
        self._whole: deque[MapSession] = deque()
        self._works = False

    def attach(self, session: MapSession) -> MapSession | None:
        """Adds a session and returns the one it replaces."""
        replaced = self.sessions.get(session.node_id)
        self.sessions[session.node_id] = session
        self._send_whole(session)
        return replaced

    def publish(self, step: Step) -> None:
        self._steps.append(step)
        self._wake()

    def drained(self, session: MapSession) -> None:
        """The stream took all it was given: if messages were skipped meanwhile, it needs a whole netmap."""
        if session.needs_full and not session.waits_for_full:
            self._send_whole(session)

    def _send_whole(self, session: MapSession) -> None:
        session.waits_for_full = True
        self._whole.append(session)
        self._wake()

    def _wake(self) -> None:
        if not self._works:
            self._works = True
            self._queue.submit(self._tailnet, self._work())

    def _work(self) -> Iterator[None]:
        try:
            while self._steps or self._whole:
                if self._steps:
                    yield from self._broadcast()
                for _ in range(min(len(self._whole), WHOLE_NETMAPS_IN_A_ROW)):
                    self._send_waiting(self._whole.popleft())
                    yield
        finally:
            self._works = False

    def _broadcast(self) -> Iterator[None]:
        """Brings every session that keeps up from the snapshot it has to the newest one."""
        steps, self._steps = self._steps, []
        before, after = self.snapshot, steps[-1].snapshot
        self.snapshot = after
        deltas = self._frames.deltas(before, after, union(step.touched for step in steps))
        for session in list(self.sessions.values()):
            if not session.stream.closed and not session.needs_full:
                self._advance(session, before, after, deltas)
                yield

    def _advance(self, session: MapSession, before: Snapshot, after: Snapshot, deltas: Deltas) -> None:
        node = after.state.nodes.get(session.node_id)
        if node is None:
            # Its next requests find no node; only this last message makes the client ask to log in.
            session.stream.write(self._frames.farewell(before, session))
            session.close()
            return
        message = deltas.message(session, node)
        if message is not None and not session.stream.write(message):
            session.needs_full = True

    def _send_waiting(self, session: MapSession) -> None:
        """Sends the whole netmap a session waits for."""
        session.waits_for_full = False
        if session.stream.closed or self.sessions.get(session.node_id) is not session:
            return
        if session.node_id not in self.snapshot.state.nodes:
            session.close()
            return
        session.needs_full = False
        session.audience = self.snapshot.compiled.audience(self.snapshot.state.nodes[session.node_id])
        session.stream.write(self._frames.whole(self.snapshot, session, peers=True))


def _send_keep_alives(due: list[MapSession]) -> Iterator[None]:
    for session in due:
        if not session.stream.closed:
            session.stream.write(keep_alive(session.compress))
            yield
