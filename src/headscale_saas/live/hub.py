"""The map sessions of this process, by tailnet, and how a new snapshot reaches them.

For each tailnet one piece of work runs at a time, in slices that the fair queue hands out round-robin,
so a large tailnet delays the others by one slice at most. A session that does not keep up is skipped:
nothing is queued for it, and when its stream takes bytes again it is told the difference from what it
has, which may then be larger.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterator
from random import Random
from typing import Protocol

from headscale_saas.clock import Clock, pause
from headscale_saas.live.cache import Snapshot, Step
from headscale_saas.live.frames import Frames, Passing, pack, pack_delta, pack_one, packing
from headscale_saas.live.presence import Presence
from headscale_saas.live.session import MapSession
from headscale_saas.netmap import full
from headscale_saas.netmap.view import View
from headscale_saas.tailnet.model import NodeId, TailnetId

KEEP_ALIVE_JITTER_SECONDS = 8.0

# So many single sessions at most between two broadcasts, so that neither starves the other.
SINGLES_IN_A_ROW = 32

# Some 20 us each: a step stays well below a slice, and is not mostly taking turns.
SESSIONS_IN_A_STEP = 8

LOOKS_FOR_A_MESSAGE = 4
"""To look who of a small tailnet is due for a keep-alive is so much cheaper than to send one."""
LOOKS_IN_A_STEP = LOOKS_FOR_A_MESSAGE * SESSIONS_IN_A_STEP

LONG_NEWS = 64
"""So many nodes take some 3 ms to describe to a class, and more are described in steps."""

BOOKS_SECONDS = 30.0
"""So long after the last whole netmap its parts are kept for the next."""

REST_FACTOR = 8.0
MOST_REST_SECONDS = 0.5


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

        self.sent: Counter[str] = Counter()
        """Messages written since the start, by kind: full, change, keepalive."""

    def __len__(self) -> int:
        return sum(len(tailnet.sessions) for tailnet in self._tailnets.values())

    @property
    def tailnets(self) -> list[TailnetId]:
        """The tailnets that have a session here."""
        return list(self._tailnets)

    def announce(self, tailnet: TailnetId, session: MapSession) -> None:
        """Says that a session is about to be attached.

        Its node comes online while its tailnet is still looked up, so that its peers hear of a new node and
        of its being online in one message. Must be followed by `attach` or `leave`.
        """
        session.presence = self._presence.started(tailnet, session.node_id, session.close)

    def leave(self, session: MapSession) -> None:
        """An announced session is not coming."""
        if session.presence is not None:
            self._presence.stopped(session.presence)
            session.presence = None

    def attach(self, tailnet: TailnetId, snapshot: Snapshot, session: MapSession) -> None:
        """Begins to serve a session; its whole netmap comes first. An older one of the node ends."""
        sessions = self._tailnets.get(tailnet)
        if sessions is None:
            sessions = TailnetSessions(tailnet, snapshot, self._queue, self._clock, self._random, self.sent)
            self._tailnets[tailnet] = sessions
        replaced = sessions.sessions.get(session.node_id)
        if replaced is not None:
            self._part(tailnet, replaced)
            self._tailnets[tailnet] = sessions
        sessions.sessions[session.node_id] = session
        session.stream.on_close = lambda: self._part(tailnet, session)
        session.stream.on_writable = lambda: sessions.catch_up(session)
        sessions.catch_up(session)

    def fetching(
        self, snapshot: Snapshot, session: MapSession, *, peers: bool
    ) -> Generator[None, None, bytes]:
        """One netmap for a request that is no stream, in steps."""
        frames, node = Frames(snapshot), snapshot.state.nodes[session.node_id]
        yield from frames.warming(node, peers=peers)
        view, make = frames.view(node), full.full_pieces if peers else full.pieces_without_peers
        pieces = make(view, frames.book(view), self._clock.now())
        if session.compressed:
            yield from packing(pieces)
        return pack(pieces, compressed=session.compressed)

    def publish(self, tailnet: TailnetId, step: Step) -> None:
        """Tells the sessions of a tailnet what changed."""
        sessions = self._tailnets.get(tailnet)
        if sessions is not None:
            sessions.publish(step)

    def vanish(self, tailnet: TailnetId) -> None:
        """The tailnet is gone, or cannot be served: its streams end."""
        sessions = self._tailnets.get(tailnet)
        for session in list(sessions.sessions.values()) if sessions else ():
            session.close()

    async def keep_alive(self) -> None:
        """Sends what is due, second by second, for ever."""
        while True:
            await pause(1)
            self._queue.submit("keep-alive", self._due_keep_alives())

    def _due_keep_alives(self) -> Iterator[None]:
        done = 0
        for looks in self._keep_alives():
            done += looks
            if done >= LOOKS_IN_A_STEP:
                done = 0
                yield

    def _keep_alives(self) -> Iterator[int]:
        """Sends what is due; yields what each bit of work cost, in looks."""
        now = self._clock.monotonic()
        for tailnet in list(self._tailnets.values()):
            tailnet.forget_books(now)
            for session in [session for session in tailnet.sessions.values() if session.deadline <= now]:
                message = session.tick(now, tailnet.jitter())
                if message is not None:
                    session.stream.write(pack_one(message, compressed=session.compressed))
                    self.sent["keepalive"] += 1
                yield LOOKS_FOR_A_MESSAGE
            yield 1

    def _part(self, tailnet: TailnetId, session: MapSession) -> None:
        """Forgets a session whose stream ended, or whose place a newer one takes."""
        sessions = self._tailnets.get(tailnet)
        if sessions is not None and sessions.sessions.get(session.node_id) is session:
            del sessions.sessions[session.node_id]
            if not sessions.sessions:
                del self._tailnets[tailnet]
        session.stream.on_close = session.stream.on_writable = None
        self.leave(session)
        session.close()


class TailnetSessions:
    """The sessions of one tailnet, and the newest snapshot that they are told of.

    A broadcast is followed by a rest of eight times its own time. A quiet tailnet hears of a change at once,
    and a busy large one spends a ninth of the time on telling: what happens in a rest is told together.
    """

    def __init__(
        self,
        tailnet: TailnetId,
        snapshot: Snapshot,
        queue: Queue,
        clock: Clock,
        random: Random,
        sent: Counter[str],
    ) -> None:
        self.sessions: dict[NodeId, MapSession] = {}
        self._tailnet = tailnet
        self._snapshot = snapshot
        self.frames = Frames(snapshot)
        self._queue = queue
        self._clock = clock
        self._random = random
        self._sent = sent
        self._singles: deque[MapSession] = deque()
        self._has_news = False
        self._is_long_news = False
        self._rests_until = 0.0
        self._last_came = clock.monotonic()
        self._works = False
        self._alarm: asyncio.TimerHandle | None = None

    def publish(self, step: Step) -> None:
        """Brings all sessions to a newer snapshot."""
        self._snapshot = step.snapshot
        self.frames.advance(step.snapshot, step.touched)
        self._has_news = True
        self._is_long_news |= step.touched is None or len(step.touched.nodes) > LONG_NEWS
        self._wake()

    def catch_up(self, session: MapSession) -> None:
        """Brings one session to the newest snapshot: a new one, or one whose stream takes bytes again."""
        if not session.is_queued:
            session.is_queued = True
            self._singles.append(session)
            self._wake()

    def forget_books(self, now: float) -> None:
        """With a policy there may be a book for every few nodes, and most of the time nobody comes."""
        if now - self._last_came >= BOOKS_SECONDS:
            self.frames.forget_books()

    def jitter(self) -> float:
        return self._random.random() * KEEP_ALIVE_JITTER_SECONDS

    def _wake(self) -> None:
        if self._works:
            return
        rest = self._rests_until - self._clock.monotonic()
        if self._singles or (self._has_news and rest <= 0):
            self._works = True
            self._queue.submit(self._tailnet, self._work())
        elif self._has_news and self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(rest, self._end_rest)

    def _end_rest(self) -> None:
        self._alarm = None
        self._rests_until = 0.0
        self._wake()

    def _work(self) -> Iterator[None]:
        try:
            if self._has_news and self._clock.monotonic() >= self._rests_until:
                yield from self._broadcast()
            for _ in range(min(len(self._singles), SINGLES_IN_A_ROW)):
                yield from self._warming(self._singles[0])
                yield from self._telling(self._singles[0])
                session = self._singles.popleft()
                session.is_queued = False
                self._advance(session)
                yield
        finally:
            self._works = False
            self._wake()

    def _warming(self, session: MapSession) -> Iterator[None]:
        node = self._snapshot.state.nodes.get(session.node_id)
        if session.sent is None and node is not None:
            yield from self.frames.warming(node)

    def _broadcast(self) -> Iterator[None]:
        """Brings every session that takes bytes to the newest snapshot, even one published meanwhile."""
        began, self._has_news = self._clock.monotonic(), False
        if self._is_long_news:
            self._is_long_news = False
            for session in self._one_of_each_class():
                yield from self._telling(session)
        for count, session in enumerate(list(self.sessions.values())):
            if session.sent is not None and not session.is_queued:
                passing = self.frames.passing(session.sent.of_class)
                if passing is None or session.node_id in passing.concerned:
                    yield from self._telling(session)
                    self._advance(session)
                    yield  # a packet filter of its own may take milliseconds
                else:
                    self._pass_on(session, passing)
            if count % SESSIONS_IN_A_STEP == 0:
                yield
        now = self._clock.monotonic()
        self._rests_until = now + min(REST_FACTOR * (now - began), MOST_REST_SECONDS)

    def _one_of_each_class(self) -> list[MapSession]:
        """What a class is told is computed for the first of it, which may take long."""
        sessions = self.sessions.values()
        return list({id(it.sent.of_class): it for it in sessions if it.sent is not None}.values())

    def _telling(self, session: MapSession) -> Iterator[None]:
        node = self._snapshot.state.nodes.get(session.node_id)
        if session.sent is not None and node is not None and session.stream.writable:
            yield from self.frames.telling(session.sent.of_class, node)

    def _pass_on(self, session: MapSession, passing: Passing) -> None:
        """The hot path: this session is told what all others are told, too."""
        if session.stream.writable:
            data = passing.packed(compressed=session.compressed)
            session.pass_on(passing.after, self._clock.monotonic(), self.jitter() if data else None)
            if data:
                session.stream.write(data)
                self._sent["change"] += 1

    def _advance(self, session: MapSession) -> None:
        """Tells one session what it does not know yet, if its stream takes it now."""
        if self.sessions.get(session.node_id) is not session or not session.stream.writable:
            return
        node = self._snapshot.state.nodes.get(session.node_id)
        if node is None:
            self._take_leave(session)
            return
        view, now, jitter = self.frames.view(node), self._clock.monotonic(), self.jitter()
        if session.sent is None:
            pieces = session.first_message(view, self.frames.book(view), self._clock.now(), now, jitter)
            session.stream.write(pack(pieces, compressed=session.compressed))
            self._sent["full"] += 1
            self._last_came = now
        elif session.sent.of_class is not view.of_class:
            self._tell_difference(session, view, now, jitter)

    def _tell_difference(self, session: MapSession, view: View, now: float, jitter: float) -> None:
        own, shared = session.next_messages(view, self.frames.shared, now, jitter)
        # One write: a stream that takes bytes takes all of them, but perhaps nothing more afterwards.
        data = b"" if own is None else pack_one(own, compressed=session.compressed)
        data += pack_delta(shared, session.node_id, compressed=session.compressed)
        if data:
            session.stream.write(data)
            self._sent["change"] += 1

    def _take_leave(self, session: MapSession) -> None:
        """The node was deleted. Its next requests find nothing; only this makes its client ask to log in."""
        if session.sent is not None:
            message = full.farewell(session.sent, self._clock.now())
            session.stream.write(pack_one(message, compressed=session.compressed))
        session.close()
