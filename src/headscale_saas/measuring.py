"""Looks how late the event loop is, twice a second on average, and on demand at what a worker counts.

The parts know no metrics: they keep plain numbers, which cost nothing on the hot path.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping

from prometheus_client import Counter as Metric

from headscale_saas.live.cache import Cache
from headscale_saas.live.hub import Hub
from headscale_saas.observe import Metrics
from headscale_saas.store.database import Database
from headscale_saas.transport.fair import FairQueue
from headscale_saas.transport.server import Edge

PERIOD_SECONDS = 0.5
"""On average: looks at random moments see what comes at regular ones as often as it is there."""


class Measuring:
    """Feeds the metrics that are read off; those of events are counted where they happen."""

    def __init__(
        self, metrics: Metrics, work: FairQueue, hub: Hub, cache: Cache, edge: Edge, database: Database
    ) -> None:
        self._metrics = metrics
        self._work = work
        self._hub = hub
        self._cache = cache
        self._edge = edge
        self._database = database
        self._seen: Counter[tuple[str, ...]] = Counter()

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PERIOD_SECONDS * random.uniform(0.5, 1.5)
            await asyncio.sleep(due - loop.time())
            self._metrics.loop_lag.observe(max(0.0, loop.time() - due))

    def read(self) -> None:
        """Before the metrics are shown."""
        metrics, counts = self._metrics, self._edge.counts
        metrics.queued_work.set(len(self._work))
        metrics.sessions.set(len(self._hub))
        metrics.tailnets_cached.set(len(self._cache.tailnets))
        metrics.lane_waiting.set(self._database.waiting)
        metrics.connections.labels("control").set(self._edge.connections)
        metrics.connections_waiting.set(self._edge.waiting)
        self._follow(
            metrics.handshakes,
            {
                ("done",): counts.handshakes - counts.handshakes_by_old_key,
                ("old_key",): counts.handshakes_by_old_key,
                ("failed",): counts.failed_handshakes,
            },
        )
        self._follow(metrics.connections_turned_away, {(): counts.turned_away})
        self._follow(metrics.responses_sent, {("ok", kind): total for kind, total in self._hub.sent.items()})

    def _follow(self, metric: Metric, totals: Mapping[tuple[str, ...], int]) -> None:
        """Brings a counter to totals that somebody else counts."""
        for labels, total in totals.items():
            (metric.labels(*labels) if labels else metric).inc(total - self._seen[labels])
            self._seen[labels] = total
