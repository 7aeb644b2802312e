"""Ends the streams of this process of which a newer one was admitted by another.

The doorbell says where to look. It may be lost, so every few seconds all tailnets with a stream here are
looked at, by what began elsewhere since the look before.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from headscale_saas.clock import pause
from headscale_saas.errors import NotFound
from headscale_saas.live.presence import Presence
from headscale_saas.observe import Ration, get_logger
from headscale_saas.store import sessions
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import TailnetId

GATHER_SECONDS = 0.2
POLL_SECONDS = 5.0
RETRY_SECONDS = 1.0

FAILURES = Ration(20)
"""Lines in the log a minute: with the database away it fails for each tailnet, again and again."""

log = get_logger(__name__)


class Takeovers:
    """Two tasks for the whole process, `run` and `poll`."""

    def __init__(self, database: Database, presence: Presence) -> None:
        self._database = database
        self._presence = presence
        self._wanted: set[TailnetId] = set()
        self._bell = asyncio.Event()
        self._seen: datetime | None = None

    def look_at(self, tailnets: Iterable[TailnetId]) -> None:
        """Says that streams of these began elsewhere. Those without a stream here are skipped."""
        self._want(tailnet for tailnet in tailnets if tailnet in self._presence.tailnets)

    def look_at_all(self) -> None:
        """After a time of deafness."""
        self._want(self._presence.tailnets)

    def _want(self, tailnets: Iterable[TailnetId]) -> None:
        self._wanted.update(tailnets)
        if self._wanted:
            self._bell.set()

    async def run(self) -> None:
        """Looks where it was told to, for ever."""
        while True:
            await self._bell.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._bell.clear()
            wanted, self._wanted = self._wanted, set()
            failed = [tailnet for tailnet in wanted if not await self._looked_at(tailnet)]
            if failed:
                await asyncio.sleep(RETRY_SECONDS)
                self._want(failed)

    async def poll(self) -> None:
        """The safety net under lost doorbells, for ever."""
        while True:
            await pause(POLL_SECONDS)
            try:
                await self.look()
            except Exception as error:
                log.warning("sessions_not_read", error=str(error))

    async def look(self) -> None:
        """One look at all tailnets with a stream here."""
        here, since = list(self._presence.tailnets), self._seen
        async with self._database.directory() as tx:
            now = await sessions.database_time(tx)
            if here and since is not None:
                begun = await sessions.begun_elsewhere(tx, here, self._database.process, since)
                for tailnet, tokens in begun.items():
                    self._presence.superseded(tailnet, tokens)
        self._seen = now

    async def _looked_at(self, tailnet: TailnetId) -> bool:
        try:
            await self._end_older(tailnet)
        except NotFound:
            return True
        except Exception as error:
            if (left_out := FAILURES.left_out()) is not None:
                log.warning("sessions_not_read", tailnet=tailnet, error=str(error), left_out=left_out)
            return False
        return True

    async def _end_older(self, tailnet: TailnetId) -> None:
        async with self._database.read(tailnet) as tx:
            nodes = self._presence.nodes_of(tailnet)
            tokens = await sessions.newest_elsewhere(tx, nodes, self._database.process)
        self._presence.superseded(tailnet, tokens)
