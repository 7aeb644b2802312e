"""Keeps the cache up with the database: every cause leads to the same catch-up.

A doorbell, a commit of our own, a client that knows a newer version, and the safety poll all only
say "look at this tailnet". Changes are gathered for a moment, so that a burst costs one look and one
message. With the database away, connected clients keep what they have and we keep trying.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from headscale_saas.errors import Error, Unavailable
from headscale_saas.live.cache import Cache, Snapshot, Step
from headscale_saas.observe import get_logger
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import TailnetId, Version

GATHER_SECONDS = 0.02
POLL_SECONDS = 1.5
RETRY_SECONDS = 0.5

Publish = Callable[[TailnetId, Step], None]
Vanish = Callable[[TailnetId], None]

log = get_logger(__name__)


class Follower:
    """One task for the whole process. `publish` is called once for each tailnet that moved."""

    def __init__(self, cache: Cache, database: Database, publish: Publish, vanish: Vanish) -> None:
        self._cache = cache
        self._database = database
        self._publish = publish
        self._vanish = vanish
        self._rung: set[TailnetId] = set()
        self._waiting: dict[TailnetId, list[asyncio.Future[Snapshot]]] = defaultdict(list)
        self._bell = asyncio.Event()

    def ring(self, tailnets: Iterable[TailnetId]) -> None:
        """Says that these may have moved. Those not cached here are nobody's business here."""
        self._rung.update(tailnet for tailnet in tailnets if tailnet in self._cache.tailnets)
        if self._rung:
            self._bell.set()

    async def at_least(self, tailnet: TailnetId, version: Version) -> Snapshot:
        """The snapshot of a tailnet, not older than `version`. Raises NotFound, Unavailable."""
        while (snapshot := self._cache.get(tailnet)) is None or snapshot.version < version:
            future: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
            self._waiting[tailnet].append(future)
            self._rung.add(tailnet)
            self._bell.set()
            await future
        return snapshot

    async def run(self) -> None:
        """Looks whenever something rang, for ever."""
        while True:
            await self._bell.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._bell.clear()
            wanted, self._rung = self._rung, set()
            try:
                await self.look(wanted)
            except (Unavailable, OSError) as error:
                log.warning("catch_up_failed", error=str(error), tailnets=len(wanted))
                self._fail(wanted, error)
                self.ring(wanted)
                await asyncio.sleep(RETRY_SECONDS)

    async def poll(self) -> None:
        """The safety net under lost doorbells: compares versions every 1.5 s, for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                self.ring(await self._behind())
            except (Unavailable, OSError) as error:
                log.warning("safety_poll_failed", error=str(error))

    async def look(self, tailnets: Iterable[TailnetId]) -> None:
        """One catch-up; what moved is published, and who waited is served."""
        wanted = set(tailnets)
        if not wanted:
            return
        for tailnet, outcome in (await self._cache.catch_up(wanted)).items():
            if isinstance(outcome, Error):
                log.warning("tailnet_not_served", tailnet=tailnet, error=outcome.message)
                self._fail([tailnet], outcome)
                self._vanish(tailnet)
            else:
                self._publish(tailnet, outcome)
        for tailnet in wanted:
            self._serve(tailnet)

    async def _behind(self) -> list[TailnetId]:
        cached = list(self._cache.tailnets)
        if not cached:
            return []
        async with self._database.directory() as tx:
            heads = await directory.versions(tx, cached)
        return [
            tailnet
            for tailnet in cached
            if (snapshot := self._cache.get(tailnet)) and heads.get(tailnet) != snapshot.version
        ]

    def _serve(self, tailnet: TailnetId) -> None:
        snapshot = self._cache.get(tailnet)
        if snapshot is None:
            return
        for future in self._waiting.pop(tailnet, ()):
            if not future.done():
                future.set_result(snapshot)

    def _fail(self, tailnets: Iterable[TailnetId], error: Exception) -> None:
        for tailnet in tailnets:
            for future in self._waiting.pop(tailnet, ()):
                if not future.done():
                    future.set_exception(
                        error if isinstance(error, Error) else Unavailable("the database is away")
                    )
