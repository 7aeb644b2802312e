"""Many clients against one server, in phases; what they found becomes a Report.

join      all register and poll, some at a time: joins per second, time to the first netmap
idle      nothing happens
visible   one more joins: time until each of its peers has seen it
endpoint  one reports a new endpoint: time until each of its peers has seen it
storm     all connections break at once: time until each has a full netmap again
"""

import asyncio
import gc
import resource
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from headscale_saas.errors import Error, Refused, Unavailable
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.connection import BROKEN_OFF
from headscale_saas.swarm.identity import Mark
from headscale_saas.swarm.plan import Plan
from headscale_saas.swarm.replies import UnexpectedStatus
from headscale_saas.swarm.report import Phase, Report
from headscale_saas.swarm.site import Site

Progress = Callable[[str, int, int], None]
"""Told of the phase, what is done of it, and what there is to do."""

TOO_MANY = 429
STRIDE = 37
"""From round to round the one who changes something is another."""


@dataclass
class Crowd:
    """The clients of a plan. The phases are methods, so that other programs can arrange them anew."""

    plan: Plan
    progress: Progress = lambda name, done, total: None
    clients: list[Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.site = Site(self.plan.url)
        self._made = self._changes = 0
        self._welcome: set[int] = set()
        """Tailnets that somebody has joined."""
        self.report = Report(self.plan.clients, len(self.plan.keys))

    async def join(self, count: int | None = None) -> None:
        """W1: the plan's clients (or so many more), `concurrency` at a time."""
        slots = asyncio.Semaphore(self.plan.concurrency)
        newcomers = [self.newcomer() for _ in range(self.plan.clients if count is None else count)]
        with self._phase("join", len(newcomers)) as phase:
            await self._all_or_none([self._join(client, slots, phase) for client in newcomers], newcomers)
        self.clients += [client for client in newcomers if client.poller.is_wanted]
        gc.collect()
        gc.freeze()

    async def idle(self) -> None:
        with self._phase("idle", 1) as phase:
            before = self._heard()
            await asyncio.sleep(self.plan.idle_seconds)
            phase.sizes.append((self._heard() - before) // max(len(self.clients), 1))
            self._step(phase)

    async def visible(self) -> None:
        """W2: one more client per round."""
        with self._phase("visible", self.plan.rounds) as phase:
            for _ in range(self.plan.rounds):
                newcomer = self.newcomer()
                watchers = self.neighbours(newcomer)
                self.clients.append(newcomer)
                join = newcomer.join(self.key_of(newcomer), timeout=self.plan.limit_seconds)
                await self._watched(phase, watchers, newcomer.hostname, join)
                await asyncio.sleep(self.plan.pause_seconds)

    async def endpoint(self) -> None:
        """W3: one client per round reports another port."""
        with self._phase("endpoint", self.plan.rounds) as phase:
            for _ in range(self.plan.rounds):
                number, self._changes = self._changes, self._changes + 1
                client = self.clients[number * STRIDE % len(self.clients)]
                endpoint = client.mark.endpoint(1 + client.number % 65535, 1024 + number % 60_000)
                change = client.update_endpoints([endpoint])
                await self._watched(phase, self.neighbours(client), endpoint, change)
                await asyncio.sleep(self.plan.pause_seconds)

    async def storm(self) -> None:
        """W4: all connections break in the same moment; each comes back with the official back-off."""
        with self._phase("storm", len(self.clients)) as phase:
            start = time.perf_counter()
            await asyncio.gather(*(self._return(client, start, phase) for client in self.clients))

    async def settle(self) -> None:
        """Returns when nobody was told anything for `quiet_seconds`, or after `limit_seconds`."""
        end, heard = time.perf_counter() + self.plan.limit_seconds, -1
        while heard != self._heard() and time.perf_counter() < end:
            heard = self._heard()
            await asyncio.sleep(self.plan.quiet_seconds)

    async def finish(self) -> Report:
        """The gate: who has no poll, who does not know what its peers said last, what leaked."""
        report, oracle = self.report, self.site.oracle
        report.lost = len([client for client in self.clients if not client.is_connected])
        report.incomplete = len([client for client in self.clients if not self._knows_all(client)])
        report.decoded, report.violations, report.violation_count = oracle.checked, oracle.kept, oracle.count
        for client in self.clients:
            for trouble in client.troubles:
                if getattr(trouble, "code", "") != BROKEN_OFF:
                    report.add_error(trouble)
        await asyncio.gather(*(client.close() for client in self.clients))
        return report

    def newcomer(self) -> Client:
        """A client of the next tailnet that has not joined yet; `decode` of them decode."""
        number, self._made = self._made, self._made + 1
        tailnets, decode = len(self.plan.keys), self.plan.decode
        label = self.plan.label_of(number % tailnets)
        hostname = f"{Mark.of(label).text}-{self.plan.run}-{number:05d}"
        decodes = decode > 0 and number // tailnets % max(round(1 / decode), 1) == 0
        return Client(self.site, tailnet=label, number=number, hostname=hostname, decodes=decodes)

    def key_of(self, client: Client) -> str:
        return self.plan.keys[client.number % len(self.plan.keys)]

    def neighbours(self, client: Client) -> list[Client]:
        """The others of its tailnet."""
        tailnets = len(self.plan.keys)
        return [
            other
            for other in self.clients
            if other.number % tailnets == client.number % tailnets and other is not client
        ]

    async def _all_or_none(
        self, joins: Sequence[Coroutine[None, None, None]], newcomers: Sequence[Client]
    ) -> None:
        """If one of them raises, the others end, and so do their clients."""
        tasks = [asyncio.ensure_future(join) for join in joins]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(client.close() for client in newcomers))
            raise

    async def _join(self, client: Client, slots: asyncio.Semaphore, phase: Phase) -> None:
        async with slots:
            start = time.perf_counter()
            tailnet = client.number % len(self.plan.keys)
            join = client.join(self.key_of(client), timeout=self.plan.limit_seconds)
            if await self._tried(join, is_final=tailnet not in self._welcome):
                self._welcome.add(tailnet)
                phase.waits.append(_since(start))
            else:
                phase.missing += 1
                await client.close()
            self._step(phase)

    async def _watched(
        self, phase: Phase, watchers: list[Client], marker: str, action: Coroutine[None, None, object]
    ) -> None:
        """Does it, and waits until each watcher was told something with the marker in it."""
        futures = [watcher.inbox.watch(marker.encode()) for watcher in watchers]
        start = asyncio.get_running_loop().time()
        if await self._tried(action) and futures:
            await asyncio.wait(futures, timeout=self.plan.limit_seconds)
        seen = [future.result() for future in futures if future.done()]
        for watcher in watchers:
            watcher.inbox.unwatch()
        phase.waits += [(one.at - start) * 1000 for one in seen]
        phase.sizes += [one.size for one in seen]
        phase.missing += len(futures) - len(seen)
        self._step(phase)

    async def _return(self, client: Client, start: float, phase: Phase) -> None:
        if await self._tried(client.reconnect(self.plan.limit_seconds)):
            phase.waits.append(_since(start))
        else:
            phase.missing += 1
        self._step(phase)

    async def _tried(self, action: Coroutine[None, None, object], *, is_final: bool = False) -> bool:
        """Whether it was done. `is_final`: where the server says no, nobody else need ask."""
        try:
            await action
        except (Error, OSError, TimeoutError) as error:
            if is_final and _says_no(error):
                raise Unavailable(f"nobody can join at {self.plan.url}: {error}") from None
            self.report.add_error(error)
            return False
        return True

    @contextmanager
    def _phase(self, name: str, total: int) -> Iterator[Phase]:
        phase = Phase(name, total)
        self.report.phases.append(phase)
        wall, own = time.perf_counter(), time.process_time()
        try:
            yield phase
        finally:
            phase.seconds = time.perf_counter() - wall
            phase.load = (time.process_time() - own) / phase.seconds

    def _step(self, phase: Phase) -> None:
        phase.done += 1
        self.progress(phase.name, phase.done, phase.total)

    def _heard(self) -> int:
        return sum(client.inbox.bytes for client in self.clients)

    def _knows_all(self, client: Client) -> bool:
        if client.inbox.netmap is None:
            return not client.inbox.decodes
        known = {node.key: node.endpoints for node in client.inbox.netmap.peers.values()}
        return all(known.get(other.identity.node_key) == other.endpoints for other in self.neighbours(client))


def _says_no(error: Exception) -> bool:
    """A refusal, and an address where nobody listens; not silence, which may pass."""
    if isinstance(error, UnexpectedStatus):
        return 400 <= error.status < 500 and error.status != TOO_MANY
    return isinstance(error, Refused | OSError) and not isinstance(error, TimeoutError | ConnectionResetError)


def _since(start: float) -> float:
    """Milliseconds since that moment of `perf_counter`."""
    return (time.perf_counter() - start) * 1000


async def run(plan: Plan, progress: Progress = lambda name, done, total: None) -> Report:
    """All phases of the plan. Raises Forbidden for a public address, Unavailable if
    nobody can join, TimeoutError after `total_seconds`."""
    crowd = Crowd(plan, progress)
    if not plan.own_server:
        await crowd.site.demand_private()
    raise_file_limit()
    async with asyncio.timeout(plan.total_seconds):
        for name in plan.phases:
            if name != "join" and not crowd.clients:
                raise Unavailable(f"nobody has joined at {plan.url}: {'; '.join(crowd.report.errors)}")
            await getattr(crowd, name)()
            await crowd.settle()
        return await crowd.finish()


def raise_file_limit() -> None:
    """As many sockets as the process may have at all."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
