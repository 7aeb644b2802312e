"""Tells the database who is connected to this process, in batches, and learns what was taken over.

A stream is served at once; its admission follows a moment later and yields the fencing token. The
newest token of a node wins, wherever its stream is. Ends are reported with their token, so that a
late end cannot hide a newer stream.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import msgspec

from headscale_saas.errors import Error, NotFound
from headscale_saas.observe import Ration, get_logger
from headscale_saas.tailnet.model import NodeId, ProcessNumber, TailnetId

BATCH_SECONDS = 0.005
REPORTS_AT_ONCE = 4
"""Tailnets that are reported at the same time. The others gather what comes meanwhile: where a thousand
tailnets come back, each is reported once or twice then and not once for each of its nodes. With a
millisecond to the database they are still some 800 a second."""
PLACE_SECONDS = 0.25
"""After this a report counts no more: a tailnet whose lane is long takes nobody's place."""
RETRY_SECONDS = 1.0
UNKNOWN = 0
"""In place of a token: the admission was not answered. The end then means the node's newest stream, if that
is of this process."""

FAILURES = Ration(20)
"""Lines in the log a minute, of each kind: with the database away it fails for each tailnet, every second."""

log = get_logger(__name__)


class Stream(msgspec.Struct, eq=False):
    """One map stream as presence sees it. `token` is 0 until the database admitted it."""

    tailnet: TailnetId
    node: NodeId
    end: Callable[[], None]
    token: int = 0
    ended: bool = False


class Admission(Protocol):
    """What the database says of a new stream: its token, and the process whose live stream it replaces."""

    @property
    def token(self) -> int: ...
    @property
    def previous(self) -> ProcessNumber | None: ...


Admit = Callable[[TailnetId, Sequence[NodeId]], Awaitable[Mapping[NodeId, Admission]]]
End = Callable[[TailnetId, Mapping[NodeId, int]], Awaitable[None]]


class Presence:
    """`admit` and `end` are actions given by the composition root; both take one tailnet's batch.

    `took_over` is called for a tailnet of which other processes have to end older streams.
    """

    def __init__(self, admit: Admit, end: End, took_over: Callable[[TailnetId], None]) -> None:
        self._admit = admit
        self._end = end
        self._took_over = took_over
        self._streams: dict[TailnetId, dict[NodeId, Stream]] = {}
        self._started: dict[TailnetId, dict[NodeId, Stream]] = defaultdict(dict)
        self._ended: dict[TailnetId, dict[NodeId, int]] = defaultdict(dict)
        self._unanswered: dict[TailnetId, set[NodeId]] = {}
        self._work = asyncio.Event()
        self._busy: dict[TailnetId, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(REPORTS_AT_ONCE)

    def __len__(self) -> int:
        return sum(map(len, self._streams.values()))

    def started(self, tailnet: TailnetId, node: NodeId, end: Callable[[], None]) -> Stream:
        """A stream begins; `end` closes it should a newer one be admitted elsewhere."""
        stream = Stream(tailnet, node, end)
        self._streams.setdefault(tailnet, {})[node] = stream
        self._started[tailnet][node] = stream
        self._work.set()
        return stream

    def stopped(self, stream: Stream) -> None:
        """A stream is over. If its admission is under way, its end follows as soon as it has its token."""
        stream.ended = True
        streams = self._streams.get(stream.tailnet, {})
        if streams.get(stream.node) is stream:
            del streams[stream.node]
            if not streams:
                del self._streams[stream.tailnet]
        if stream.token:
            self._report_end(stream)

    def superseded(self, tailnet: TailnetId, tokens: Mapping[NodeId, int]) -> None:
        """Ends the streams here that are older than the newest of the same node elsewhere."""
        streams = self._streams.get(tailnet, {})
        for node, token in tokens.items():
            stream = streams.get(node)
            if stream is not None and 0 < stream.token < token:
                stream.end()

    @property
    def tailnets(self) -> Collection[TailnetId]:
        """Those that have a stream here."""
        return self._streams.keys()

    def nodes_of(self, tailnet: TailnetId) -> list[NodeId]:
        return list(self._streams.get(tailnet, ()))

    async def run(self) -> None:
        """Reports batches, one task at a time for each tailnet, so that none waits for another."""
        while True:
            await self._work.wait()
            self._work.clear()
            await asyncio.sleep(BATCH_SECONDS)
            for tailnet in {*self._started, *self._ended} - self._busy.keys():
                task = asyncio.get_running_loop().create_task(self._report(tailnet))
                self._busy[tailnet] = task

    async def flush(self, seconds: float) -> None:
        """Reports what is outstanding, for an orderly end; gives up after so long, as without a database."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._flush()

    async def _flush(self) -> None:
        while pending := {*self._started, *self._ended}:
            busy = [task for tailnet in pending if (task := self._busy.get(tailnet))]
            if busy:
                await asyncio.wait(busy)
            await asyncio.gather(*map(self._report, pending - self._busy.keys()))

    async def _report(self, tailnet: TailnetId) -> None:
        try:
            async with self._place():
                is_told = await self._is_told(tailnet)
            if not is_told:
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._busy.pop(tailnet, None)
            if tailnet in self._started or tailnet in self._ended:
                self._work.set()

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        await self._places.acquire()
        is_held = True

        def give_back() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._places.release()

        overdue = asyncio.get_running_loop().call_later(PLACE_SECONDS, give_back)
        try:
            yield
        finally:
            overdue.cancel()
            give_back()

    async def _is_told(self, tailnet: TailnetId) -> bool:
        # Who left before it was admitted is nobody's business; a token now could beat a newer stream's.
        waiting = self._started.pop(tailnet, {})
        started = {node: stream for node, stream in waiting.items() if not stream.ended}
        ended = self._ended.pop(tailnet, {})
        try:
            await self._tell(tailnet, started, ended)
        except NotFound:
            self._unanswered.pop(tailnet, None)
            for stream in started.values():
                stream.end()  # the tailnet is gone
        except Exception as error:
            _note_failure(tailnet, error)
            self._put_back(tailnet, started, ended)
            return False
        return True

    async def _tell(
        self, tailnet: TailnetId, started: Mapping[NodeId, Stream], ended: Mapping[NodeId, int]
    ) -> None:
        # A stream may have been admitted though we were not told, and has left since: nobody else ends it.
        left = self._unanswered.get(tailnet, set()) - started.keys()
        if ended or left:
            await self._end(tailnet, {**ended, **dict.fromkeys(left, UNKNOWN)})
        self._unanswered[tailnet] = set(started)
        if started:
            self._admitted(tailnet, started, await self._admit(tailnet, list(started)))
        del self._unanswered[tailnet]

    def _admitted(
        self, tailnet: TailnetId, started: Mapping[NodeId, Stream], admitted: Mapping[NodeId, Admission]
    ) -> None:
        for node, stream in started.items():
            admission = admitted.get(node)
            if admission is None:
                log.info("stream_not_admitted", tailnet=tailnet, node=node)
                stream.end()  # the node is gone, or was quicker elsewhere
                continue
            stream.token = admission.token
            if stream.ended:
                self._report_end(stream)
        if any(admission.previous is not None for admission in admitted.values()):
            self._took_over(tailnet)

    def _report_end(self, stream: Stream) -> None:
        ended = self._ended[stream.tailnet]
        ended[stream.node] = max(ended.get(stream.node, 0), stream.token)
        self._work.set()

    def _put_back(
        self, tailnet: TailnetId, started: Mapping[NodeId, Stream], ended: Mapping[NodeId, int]
    ) -> None:
        self._started[tailnet] = {**started, **self._started.get(tailnet, {})}
        self._ended[tailnet] = {**ended, **self._ended.get(tailnet, {})}


def _note_failure(tailnet: TailnetId, error: Exception) -> None:
    if (left_out := FAILURES.left_out(type(error).__name__)) is not None:
        log.warning(
            "presence_not_reported",
            tailnet=tailnet,
            error=str(error),
            left_out=left_out,
            exc_info=_unexpected(error),
        )


def _unexpected(error: Exception) -> Exception | None:
    return None if isinstance(error, Error | OSError) else error
