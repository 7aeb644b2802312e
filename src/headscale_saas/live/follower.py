"""Keeps the cache up with the database: every cause leads to the same catch-up.

A doorbell, a commit of our own, a client that knows a newer version, and the safety poll all only
say "look at this tailnet". Changes are gathered for a moment, so that a burst costs one look and one
message. With the database away, connected clients keep what they have and we keep trying. A tailnet that
cannot be served is refused for a moment by itself; the others do not notice.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from headscale_saas.clock import pause
from headscale_saas.errors import Error, NotFound, Unavailable
from headscale_saas.live.cache import Cache, Snapshot, Step
from headscale_saas.live.troubles import Troubles
from headscale_saas.observe import get_logger
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import TailnetId, Version

GATHER_SECONDS = 0.02
POLL_SECONDS = 1.5
RETRY_SECONDS = 0.5
IDLE_SECONDS = 60.0
"""A tailnet without a session is forgotten after this."""
REFUSED_SECONDS = 1.0
"""A tailnet that could not be served is not tried again before this, however many of its clients ask."""

Publish = Callable[[TailnetId, Step], None]
Vanish = Callable[[TailnetId], None]

log = get_logger(__name__)


class Follower:
    """One task for the whole process. `publish` is called once for each tailnet that moved.

    `attached` names the tailnets that have sessions here; `took` hears how many seconds each look took.
    """

    def __init__(
        self,
        cache: Cache,
        database: Database,
        publish: Publish,
        vanish: Vanish,
        attached: Callable[[], Collection[TailnetId]],
        took: Callable[[float], None],
    ) -> None:
        self._cache = cache
        self._database = database
        self._publish = publish
        self._vanish = vanish
        self._attached = attached
        self._took = took
        self._due: dict[TailnetId, float] = {}
        self._waiting: dict[TailnetId, list[asyncio.Future[Snapshot]]] = defaultdict(list)
        self._bell = asyncio.Event()
        self._refused: dict[TailnetId, tuple[float, Error]] = {}
        self._troubles = Troubles()
        self._idle_since: dict[TailnetId, float] = {}
        cache.compiling.ready = lambda tailnet: self._want([tailnet])

    def ring(self, tailnets: Iterable[TailnetId]) -> None:
        """Says that these may have moved. Others than ours are skipped."""
        self._want(tailnet for tailnet in tailnets if self._has_business(tailnet))

    def ring_all(self) -> None:
        """After a time of deafness: any of ours may have moved."""
        self._want({*self._cache.tailnets, *self._waiting})

    def hear(self, versions: Mapping[TailnetId, Version]) -> None:
        """A doorbell: these tailnets have these versions. Ours comes back to us when we are there already."""
        self._want(
            tailnet
            for tailnet, version in versions.items()
            if self._has_business(tailnet)
            and ((snapshot := self._cache.get(tailnet)) is None or snapshot.version < version)
        )

    def _has_business(self, tailnet: TailnetId) -> bool:
        """One that somebody waits for is being read: what rings now may have come too late for that."""
        return tailnet in self._cache.tailnets or tailnet in self._waiting

    async def at_least(self, tailnet: TailnetId, version: Version) -> Snapshot:
        """The snapshot of a tailnet, not older than `version`. Raises NotFound, Unavailable."""
        while (snapshot := self._cache.get(tailnet)) is None or snapshot.version < version:
            self._demand_servable(tailnet)
            future: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
            self._waiting[tailnet].append(future)
            self._want([tailnet])
            await future
        return snapshot

    async def run(self) -> None:
        """Looks whenever something rang, for ever."""
        while True:
            await self._bell.wait()
            wanted = await self._gathered()
            await self._look_or_refuse(wanted)
            self._let_rest(wanted)

    async def poll(self) -> None:
        """The safety net under lost doorbells: compares versions every 1.5 s, for ever."""
        while True:
            await pause(POLL_SECONDS)
            self.evict_idle(asyncio.get_running_loop().time())
            try:
                self._want(await self._behind())
            except (Unavailable, OSError) as error:
                log.warning("safety_poll_failed", error=str(error))
            except Exception:
                log.exception("safety_poll_failed")

    async def look(self, tailnets: Iterable[TailnetId]) -> None:
        """One catch-up; what moved is published, and who waited is served."""
        wanted = set(tailnets)
        if not wanted:
            return
        began = asyncio.get_running_loop().time()
        for tailnet, outcome in (await self._cache.catch_up(wanted)).items():
            if isinstance(outcome, Error):
                self._refuse(tailnet, outcome)
            else:
                self._tell(tailnet, outcome)
        for tailnet in wanted:
            self._serve(tailnet)
        self._took(asyncio.get_running_loop().time() - began)

    def evict_idle(self, now: float) -> None:
        """Forgets the tailnets that nobody has been connected to for a minute. `now` is the loop's time."""
        busy = {*self._attached(), *self._waiting}
        idle = {tailnet: self._idle_since.get(tailnet, now) for tailnet in {*self._cache.tailnets} - busy}
        for tailnet in [tailnet for tailnet, since in idle.items() if now - since >= IDLE_SECONDS]:
            self._cache.evict(tailnet)
            del idle[tailnet]
        self._idle_since = idle
        self._refused = {t: it for t, it in self._refused.items() if now < it[0]}

    def _want(self, tailnets: Iterable[TailnetId]) -> None:
        due = asyncio.get_running_loop().time() + GATHER_SECONDS
        for tailnet in tailnets:
            self._due.setdefault(tailnet, due)
        if self._due:
            self._bell.set()

    async def _gathered(self) -> set[TailnetId]:
        """Those that rang long enough ago; who is half-way there comes along."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(min(self._due.values()) - loop.time())
        until = loop.time() + GATHER_SECONDS / 2
        wanted = {tailnet for tailnet, due in self._due.items() if due <= until}
        for tailnet in wanted:
            del self._due[tailnet]
        if not self._due:
            self._bell.clear()
        return wanted

    def _let_rest(self, tailnets: Iterable[TailnetId]) -> None:
        """One that moved again while it was looked at gathers anew, so that a busy one comes seldom.

        The others have waited for the look already.
        """
        due = asyncio.get_running_loop().time() + GATHER_SECONDS
        for tailnet in self._due.keys() & set(tailnets):
            self._due[tailnet] = due

    async def _look_or_refuse(self, wanted: set[TailnetId]) -> None:
        try:
            await self.look(wanted)
        except (Unavailable, OSError) as error:
            log.warning("catch_up_failed", error=str(error), tailnets=len(wanted))
            self._fail(wanted, Unavailable("the database is away"))
            self.ring(wanted)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception as fault:
            await self._isolate(wanted, fault)

    async def _isolate(self, wanted: set[TailnetId], fault: Exception) -> None:
        """Something that we did not think of. Looked at one by one, only the tailnet at fault is refused."""
        if len(wanted) > 1:
            for tailnet in wanted:
                await self._look_or_refuse({tailnet})
            return
        log.error("catch_up_failed", exc_info=fault, tailnets=list(wanted))
        for tailnet in wanted:
            self._cache.evict(tailnet)
            self._refuse(tailnet, Unavailable("this tailnet cannot be served now"))

    def _tell(self, tailnet: TailnetId, step: Step) -> None:
        self._refused.pop(tailnet, None)
        self._troubles.end(tailnet)
        try:
            self._publish(tailnet, step)
        except Exception:
            # What its sessions were told is not known any more: they have to start afresh.
            log.exception("tailnet_not_published", tailnet=tailnet)
            self._vanish(tailnet)

    def _refuse(self, tailnet: TailnetId, error: Error) -> None:
        """Ends what the tailnet has here. Its rows are our business, so clients are told to try again."""
        self._troubles.begin(tailnet, error)
        if not isinstance(error, NotFound):
            error = Unavailable("this tailnet cannot be served now", code=error.code)
            self._refused[tailnet] = asyncio.get_running_loop().time() + REFUSED_SECONDS, error
        self._fail([tailnet], error)
        self._vanish(tailnet)

    def _demand_servable(self, tailnet: TailnetId) -> None:
        until, error = self._refused.get(tailnet, (0.0, None))
        if error is not None and asyncio.get_running_loop().time() < until:
            raise _copy(error)

    async def _behind(self) -> list[TailnetId]:
        """Those that moved, and those whose snapshot was dropped (failover) but not their sessions."""
        wanted = list({*self._cache.tailnets, *self._attached()})
        if not wanted:
            return []
        async with self._database.directory() as tx:
            heads = await directory.versions(tx, wanted)
        return [tailnet for tailnet in wanted if not self._is_at(tailnet, heads.get(tailnet))]

    def _is_at(self, tailnet: TailnetId, version: Version | None) -> bool:
        snapshot = self._cache.get(tailnet)
        return snapshot is not None and snapshot.version == version

    def _serve(self, tailnet: TailnetId) -> None:
        snapshot = self._cache.get(tailnet)
        if snapshot is None:
            return
        for future in self._waiting.pop(tailnet, ()):
            if not future.done():
                future.set_result(snapshot)

    def _fail(self, tailnets: Iterable[TailnetId], error: Error) -> None:
        for tailnet in tailnets:
            for future in self._waiting.pop(tailnet, ()):
                if not future.done():
                    future.set_exception(_copy(error))


def _copy(error: Error) -> Error:
    """One object raised in many tasks would gather their tracebacks."""
    return type(error)(error.message, code=error.code)
