"""One worker, put together by plain constructors: the composition root.

Read from top to bottom it is the map of a running process: database, heartbeat, cache and follower, hub
and presence, doors, edge. Every long-lived task runs in one task group: if one fails, the worker ends and
the supervisor starts a fresh one.
"""

import asyncio
import random
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from headscale_saas import metrics, noise_keys, version
from headscale_saas.actions import presence as presence_actions
from headscale_saas.actions import upkeep
from headscale_saas.actions.approvals import policy_of
from headscale_saas.actions.logins import LoginWaiters
from headscale_saas.actions.outcome import Outcome
from headscale_saas.actions.register import register
from headscale_saas.actions.report import report
from headscale_saas.clock import SystemClock
from headscale_saas.config import Config
from headscale_saas.config.addresses import host_of
from headscale_saas.control import side
from headscale_saas.control.arrivals import Arrivals
from headscale_saas.control.fetches import Fetches
from headscale_saas.control.machine import Machine
from headscale_saas.control.map import Map
from headscale_saas.control.public import Public
from headscale_saas.control.register import Register
from headscale_saas.errors import Error
from headscale_saas.live.cache import Cache, Step
from headscale_saas.live.derp_source import DerpSource
from headscale_saas.live.follower import Follower
from headscale_saas.live.hub import Hub
from headscale_saas.live.presence import Presence
from headscale_saas.live.takeovers import Takeovers
from headscale_saas.measuring import Measuring
from headscale_saas.netmap.view import Environment
from headscale_saas.observe import Metrics, get_logger
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.store.feed import Doorbell, Listener, Rung
from headscale_saas.store.heartbeat import Heartbeat
from headscale_saas.store.pool import Address
from headscale_saas.tailcfg.derpmap import DERPMap
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailcfg.maps import MapRequest
from headscale_saas.tailcfg.register import RegisterRequest
from headscale_saas.tailnet.changes import NOTHING
from headscale_saas.tailnet.model import Node, NodeId, TailnetId, Version
from headscale_saas.transport.fair import FairQueue
from headscale_saas.transport.limits import Limits
from headscale_saas.transport.server import Edge
from headscale_saas.transport.tls import server_context
from headscale_saas.wire.noise import ServerKeys

LOGIN_POLL_SECONDS = 2.0
FLUSH_SECONDS = 3.0
SPARE_FILES = 256
"""For the database, listeners, keys and whatever else must not fail because many connect."""

log = get_logger(__name__)


class Worker:
    """All parts of one worker, made inside the running loop."""

    def __init__(
        self,
        config: Config,
        dsn: str,
        database: Database,
        keys: ServerKeys,
        *,
        drop_doorbell: Callable[[str], bool] = lambda payload: False,
    ) -> None:
        """`drop_doorbell` is for tests: payloads for which it is true do not ring."""
        self._loop = loop = asyncio.get_running_loop()
        self._config = config
        self._database = database
        self._keys = keys
        self._stopping = asyncio.Event()
        self._status = 0
        self._heartbeat = Heartbeat(dsn, database.process, self._fenced_elsewhere)
        database.on_fenced = self.fenced

        self._metrics = Metrics()
        self._work = FairQueue(loop)
        direct = Address(dsn=config.database.direct_dsn or dsn, name=f"headscale-saas/{database.process}")
        self._doorbell = Doorbell(database.address, drop_doorbell)
        self._listener = Listener(direct, self._heard)
        self._derp = DerpSource(config.derp.paths, config.derp.urls, _refresh_seconds(config))
        self._derp.changed = self._derp_map_changed
        self._cache = Cache(database, self._environment(self._derp.current))
        self._presence = Presence(
            self._admit,
            partial(presence_actions.ended, database),
            self._doorbell.ring_sessions,
        )
        self._hub = Hub(self._work, self._presence, SystemClock(), random.Random())
        self._follower = Follower(
            self._cache,
            database,
            self._hub.publish,
            self._hub.vanish,
            lambda: self._hub.tailnets,
            self._metrics.catch_up_seconds.labels("follow").observe,
        )
        self._logins = LoginWaiters()
        self._logins_moved = asyncio.Event()
        self._takeovers = Takeovers(database, self._presence)
        self.edge = self._make_edge()
        self._measuring = Measuring(self._metrics, self._work, self._hub, self._cache, self.edge, database)
        database.on_commit = self._committed

    def stop(self) -> None:
        """Asks for an orderly end."""
        self._stopping.set()

    def _fenced_elsewhere(self) -> None:
        """The heartbeat's thread learned it."""
        self._loop.call_soon_threadsafe(self.fenced)

    def fenced(self) -> None:
        """Others declared this process dead and gave its sessions up: it must start afresh."""
        log.error("declared_dead")
        self._status = 1
        self._stopping.set()

    async def run(self, sockets: Sequence[socket.socket], channel: socket.socket | None, drain: float) -> int:
        """Serves on bound sockets until `stop`; `drain` seconds are given to the streams to move away."""
        self._heartbeat.start()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part) for part in self._parts()]
                await self.edge.start(sockets)
                if channel is not None:
                    tasks.append(group.create_task(metrics.answer(channel, self._metrics_text, self.stop)))
                await self._stopping.wait()
                await self.edge.drain(drain)
                await _cancel(tasks)
            if not self._status:  # a process that was declared dead has nothing to report any more
                await self._presence.flush(FLUSH_SECONDS)
        finally:
            self._heartbeat.stop()
            await self.edge.stop()
            await self._doorbell.close()
        return self._status

    def _parts(self) -> Iterable[Coroutine[Any, Any, None]]:
        """The tasks that run as long as the process does."""
        yield self._follower.run()
        yield self._follower.poll()
        yield self._hub.keep_alive()
        yield self._presence.run()
        yield self._measuring.run()
        yield self._takeovers.run()
        yield self._takeovers.poll()
        yield self._derp.run()
        yield self._look_at_logins()
        yield self._follow_noise_keys()
        yield upkeep.run_forever(self._database, lambda: self._heartbeat.is_steady)
        if not self._config.database.pooler or self._config.database.direct_url.get_secret_value():
            yield self._listener.run()

    def _committed(self, tailnet: TailnetId, version: Version) -> None:
        """Our own commits: ring the others, and look ourselves without the detour."""
        self._metrics.doorbells.labels("rung").inc()
        self._doorbell.ring(tailnet, version)
        self._follower.ring([tailnet])

    def _heard(self, rung: Rung) -> None:
        """A doorbell. After a time of deafness anything may have happened."""
        self._metrics.doorbells.labels("heard").inc()
        self._follower.hear(rung.versions)
        self._takeovers.look_at(rung.sessions)
        if rung.deaf:
            self._follower.ring_all()
            self._takeovers.look_at_all()
        if rung.logins or rung.deaf:
            self._logins_moved.set()

    async def _look_at_logins(self) -> None:
        """Serves the follow-ups that wait here, when the bell says so and every two seconds."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOGIN_POLL_SECONDS):
                    await self._logins_moved.wait()
            self._logins_moved.clear()
            try:
                await self._logins.look(self._database)
            except (Error, OSError) as error:
                log.warning("logins_not_read", error=str(error))

    async def _follow_noise_keys(self) -> None:
        def use(keys: ServerKeys) -> None:
            self._keys = keys
            self.edge.use_keys(keys)

        config = self._config
        await noise_keys.follow(self._database, config.noise.private_key_path, config.secrets.key_path, use)

    def _derp_map_changed(self, derp_map: DERPMap) -> None:
        for snapshot in self._cache.renew_environment(self._environment(derp_map)):
            self._hub.publish(snapshot.state.tailnet.id, Step(snapshot, NOTHING))

    def _metrics_text(self) -> bytes:
        self._measuring.read()
        return self._metrics.text(
            cluster_id=self._config.cluster_id, process=str(int(self._database.process))
        )

    def _environment(self, derp_map: DERPMap) -> Environment:
        return Environment(derp_map, host_of(self._config.server_url))

    async def _ping(self) -> None:
        async with self._database.directory() as tx:
            await tx.fetchval("select 1")

    async def _admit(
        self, tailnet: TailnetId, nodes: Sequence[NodeId]
    ) -> Mapping[NodeId, presence_actions.Admitted]:
        snapshot = self._cache.get(tailnet)
        # Of a tailnet that is not read yet nothing is known: after a restart most of its nodes are online.
        known = None if snapshot is None else snapshot.state.nodes
        seem_offline = known is not None and any(
            node not in known or not known[node].online for node in nodes
        )
        return await presence_actions.admit(
            self._database, self._database.process, tailnet, nodes, seem_offline=seem_offline
        )

    async def _lookup(self, key: NodeKey) -> directory.NodeRef | None:
        async with self._database.directory() as tx:
            return await directory.node_of_key(tx, key)

    async def _decide(
        self, machine: MachineKey, protocol_version: int, request: RegisterRequest, origin: str
    ) -> Outcome:
        """A registration, counted by what it came to."""
        result = "error"
        try:
            outcome = await register(
                self._database, policy_of, machine, protocol_version, request, origin, wait=self._logins.wait
            )
            result = type(outcome).__name__.lower()
        finally:
            self._metrics.registrations.labels(result).inc()
        return outcome

    async def _report(self, ref: directory.NodeRef, request: MapRequest, known: Node | None) -> None:
        """What a node reports of itself, counted."""
        status = "error"
        try:
            await report(self._database, policy_of, ref, request, known)
            status = "ok"
        finally:
            self._metrics.reports.labels(status).inc()

    def _make_edge(self) -> Edge:
        config = self._config
        public = Public(lambda: self._keys.serving, self._ping, version.COMPATIBLE)
        return Edge(
            cast(Any, public.app()),  # uvicorn and starlette spell ASGI's types differently
            self._make_machine(),
            self._keys,
            work=self._work,
            lane_of=self._cache.tailnet_of,
            limits=Limits(connections=_most_connections()),
            trusted_proxies=config.trusted_proxies,
            tls=_tls(config),
        )

    def _make_machine(self) -> Machine:
        """Everything that nodes may ask inside Noise."""
        arrivals = Arrivals(self._loop.time)
        mapper = Map(
            self._lookup,
            arrivals,
            self._report,
            self._cache,
            self._follower,
            self._hub,
            Fetches(self._work),
        )
        return Machine(
            {
                ("POST", "/machine/register"): Register(
                    self._decide, arrivals, self._config.server_url.rstrip("/")
                ),
                ("POST", "/machine/map"): mapper,
                ("POST", "/machine/update-health"): side.accepted,
                ("POST", "/machine/audit-log"): side.accepted,
                ("POST", "/machine/feature/query"): side.feature_query,
                ("GET", "/machine/whoami"): side.whoami,
                ("HEAD", "/machine/ping-response"): side.ping_response,
                ("POST", "/machine/ping-response"): side.ping_response,
            },
            {
                "/machine/c2n": side.ping_response,
                "/machine/set-dns": side.not_built,
                "/machine/set-device-attr": side.not_built,
                "/machine/id-token": side.not_built,
                "/machine/tka/": side.not_built,
                "/machine/webclient/": side.not_built,
                "/machine/ssh/": side.not_built,
            },
        )


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels until all have ended: `asyncio.wait_for` may lose a cancellation (until Python 3.12)."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.5)


def _refresh_seconds(config: Config) -> float | None:
    """How often the DERP maps are fetched again; None = once."""
    return config.derp.update_frequency.total_seconds() if config.derp.auto_update_enabled else None


def _most_connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Limits().connections if files == resource.RLIM_INFINITY else max(files - SPARE_FILES, files // 2)


def _tls(config: Config) -> ssl.SSLContext | None:
    if not config.tls_cert_path:
        return None
    return server_context(config.tls_cert_path, config.tls_key_path)
