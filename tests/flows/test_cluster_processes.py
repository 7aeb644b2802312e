"""Real processes: kill -9, restarts, signals, and starts that cannot work."""

import asyncio
import os
import random
import re
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.processes import Balancer, Served, free_port
from tests.service import Home, House
from tests.waiting import until

from headscale_saas.actions import nodes
from headscale_saas.config import load
from headscale_saas.errors import Error
from headscale_saas.store.database import Database
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.site import Site

CLIENTS, TAILNETS, NEWCOMERS = 300, 10, 20
SERVED_AGAIN_SECONDS = 10.0
JOINED_SECONDS = 120.0


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headscale-saas-test-") as made:
        yield Path(made)


@asynccontextmanager
async def cluster(directory: Path, dsn: str, count: int, *words: str) -> AsyncIterator[list[Served]]:
    """So many `serve` on one database, well."""
    processes = [Served(directory, f"p{number}", dsn) for number in range(count)]
    try:
        for process in processes:
            process.start(*words)
        for process in processes:
            await process.healthy()
        yield processes
    finally:
        for process in processes:
            process.kill()


@asynccontextmanager
async def house_of(dsn: str, process: Served) -> AsyncIterator[House]:
    tool = await Database.open(dsn, pool_size=4)
    try:
        yield House(dsn, load(process.config).config, tool)
    finally:
        await tool.close()


class Nemesis:
    """Clients that join and change all the time, and what they were told is done."""

    def __init__(self, site: Site, homes: list[Home]) -> None:
        self.site = site
        self.homes = homes
        self.clients: list[Client] = []
        self.promised: dict[Client, tuple[str, ...]] = {}
        self.broken: list[Exception] = []
        self._chance = random.Random(11)

    def home_of(self, client: Client) -> Home:
        return next(home for home in self.homes if client.mark == client.mark.of(home.name))

    def of(self, home: Home) -> list[Client]:
        return [client for client in self.clients if client.mark == client.mark.of(home.name)]

    async def join(self, count: int) -> None:
        """New clients, each trying until it is in; being in is a promise."""
        slots = asyncio.Semaphore(24)
        made = [
            Client(self.site, tailnet=self.homes[number % len(self.homes)].name) for number in range(count)
        ]
        await asyncio.gather(*(self._join(client, slots) for client in made))

    async def _join(self, client: Client, slots: asyncio.Semaphore) -> None:
        async with slots:
            await until(partial(self._is_in, client), within=JOINED_SECONDS)
        self.promised[client] = client.endpoints
        self.clients.append(client)

    async def _is_in(self, client: Client) -> bool:
        """Tries once."""
        try:
            await client.join(self.home_of(client).key, timeout=20)
        except (Error, OSError) as error:
            self.broken.append(error)
            return False
        return True

    async def change(self) -> None:
        """Some 40 endpoint changes a second, until cancelled. One that failed is neither promised nor not."""
        for number in range(1, 1 << 30):
            client = self._chance.choice(self.clients)
            endpoints = [client.mark.endpoint(1 + number % 65535)]
            self.promised.pop(client, None)
            try:
                async with asyncio.timeout(10):
                    await client.update_endpoints(endpoints)
            except (Error, OSError) as error:
                self.broken.append(error)
            else:
                self.promised[client] = tuple(endpoints)
            await asyncio.sleep(0.02)

    def lost(self, since: dict[Client, int]) -> list[Client]:
        """Those without a stream that has given them a whole netmap."""
        return [
            client
            for client in self.clients
            if not client.is_connected or client.inbox.full_netmaps <= since.get(client, 0)
        ]


@pytest.mark.slow
async def test_kill_9_of_one_of_three_processes_is_over_in_ten_seconds(
    database_dsn: str, directory: Path
) -> None:
    """I1 to I7 with 300 clients of 10 tailnets, joins and changes going on (F-01)."""
    async with (
        cluster(directory, database_dsn, 3) as processes,
        house_of(database_dsn, processes[0]) as house,
        Balancer([process.port for process in processes]).running() as balancer,
    ):
        homes = [await house.tailnet(f"tailnet-{number}") for number in range(TAILNETS)]
        nemesis = Nemesis(Site(f"http://127.0.0.1:{balancer.port}"), homes)
        await nemesis.join(CLIENTS)
        assert not nemesis.broken
        changing = asyncio.create_task(nemesis.change())
        joining = asyncio.create_task(nemesis.join(NEWCOMERS))
        victim = processes[1]
        doomed = [client for client in nemesis.clients if await _is_served_by(house, client, victim)]
        assert len(doomed) >= CLIENTS // 6
        since = {client: client.inbox.full_netmaps for client in doomed}
        victim.kill()
        killed_at = time.monotonic()

        async def all_are_served_again() -> bool:
            return not nemesis.lost(since)

        await until(all_are_served_again, within=SERVED_AGAIN_SECONDS)
        await joining
        changing.cancel()
        await asyncio.wait([changing])
        for home in homes:
            left = max(2.0, killed_at + SERVED_AGAIN_SECONDS + 5 - time.monotonic())
            await house.settled(home, *nemesis.of(home), timeout=left)
        await _demand_promises_kept(house, nemesis)
        await until(lambda: _is_retired(house), within=25)
        for home in homes:
            # Who goes offline is seen last at some time: nobody flapped.
            found = await nodes.list_nodes(house.tool, home.id)
            assert all(node.online and node.last_seen is None for node in found)
            await house.settled(home, *nemesis.of(home))
        await asyncio.gather(*(client.close() for client in nemesis.clients))


async def _is_served_by(house: House, client: Client, process: Served) -> bool:
    """By the number that the worker's metrics carry; asked once."""
    if not hasattr(process, "number"):
        text = await process.metrics()
        found = re.search(r'process="(\d+)"', text)
        assert found, text
        process.number = int(found[1])  # type: ignore[attr-defined]
        rows = await house.sql(
            "select n.node_key from sessions s"
            " join nodes n on n.tailnet_id = s.tailnet_id and n.id = s.node_id"
            " where s.process = $1 and s.ended_at is null",
            process.number,  # type: ignore[attr-defined]
        )
        process.keys = {bytes(row["node_key"]) for row in rows}  # type: ignore[attr-defined]
    return bytes(client.identity.node_key) in process.keys  # type: ignore[attr-defined]


async def _demand_promises_kept(house: House, nemesis: Nemesis) -> None:
    """Each acknowledged join and change is in the database (I1) once (I3)."""
    for home in nemesis.homes:
        rows = {node.node_key: node for node in await nodes.list_nodes(house.tool, home.id)}
        assert len(rows) == len(nemesis.of(home))
        for client in nemesis.of(home):
            promised = nemesis.promised.get(client)
            assert promised in (None, rows[client.identity.node_key].endpoints)


async def _is_retired(house: House) -> bool:
    """The killed process was declared dead, and no stream counts as its own any more."""
    dead = await house.sql("select number from processes where dead_at is not null")
    held = await house.sql(
        "select 1 from sessions s join processes p on p.number = s.process"
        " where s.ended_at is null and p.dead_at is not null"
    )
    return bool(dead) and not held


# ── Supervisor ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_workers_serve_restart_and_end_in_order(database_dsn: str, directory: Path) -> None:
    async with (
        cluster(directory, database_dsn, 1, "--workers", "2") as (process,),
        house_of(database_dsn, process) as house,
    ):
        acme = await house.tailnet("acme")
        site = Site(f"http://127.0.0.1:{process.port}")
        clients = [Client(site, tailnet="acme") for _ in range(24)]
        await asyncio.gather(*(client.join(acme.key) for client in clients))
        await house.settled(acme, *clients)

        health = await asyncio.to_thread(process.get, f"http://127.0.0.1:{process.metrics_port}/health")
        assert health == '{"status":"pass"}'
        text = await process.metrics()
        sessions = dict(
            re.findall(r'^headscale_map_sessions\{.*process="(\d+)"\} (\S+)$', text, re.MULTILINE)
        )
        assert len(sessions) == 2
        assert text.count("# TYPE headscale_map_sessions gauge") == 1

        async def both_serve() -> bool:
            lines = re.findall(r"^headscale_map_sessions\{.*\} (\S+)$", await process.metrics(), re.MULTILINE)
            return len(lines) == 2 and all(map(float, lines)) and sum(map(float, lines)) == len(clients)

        await until(both_serve)

        first, second = process.workers
        process.process.send_signal(signal.SIGHUP)
        os.kill(first, signal.SIGKILL)

        async def another_serves() -> bool:
            return len(process.workers) == 2 and first not in process.workers and await both_serve_again()

        async def both_serve_again() -> bool:
            return len(re.findall(r"^headscale_map_sessions\{", await process.metrics(), re.MULTILINE)) == 2

        await until(another_serves, within=20)
        assert second in process.workers
        await house.settled(acme, *clients, timeout=10)

        process.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert await process.ended() == 0
        assert time.monotonic() - began < 10
        # The killed one has nobody to sign it off; the others did it themselves.
        assert len(await house.sql("select 1 from processes where dead_at is null")) <= 1
        await asyncio.gather(*(client.close() for client in clients))


async def test_a_worker_keeps_to_its_number_of_connections(database_dsn: str, directory: Path) -> None:
    """`database.postgres.max_open_conns`, with a crowd that would like more; four are for other things."""
    limit = {"url": database_dsn, "postgres": {"max_open_conns": 2}}
    process = Served(directory, "few", database_dsn, database=limit).start()
    try:
        await process.healthy()
        async with house_of(database_dsn, process) as house:
            acme, site = await house.tailnet("acme"), Site(f"http://127.0.0.1:{process.port}")
            clients = [Client(site, tailnet=acme.name) for _ in range(20)]
            await asyncio.gather(*(client.join(acme.key) for client in clients))
            (found,) = await house.sql(
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and application_name ~ '^headscale-saas/[1-9]'"
            )
            assert 2 <= found["count"] <= 2 + 4
            await asyncio.gather(*(client.close() for client in clients))
        assert "has no effect" not in process.log.read_text()
    finally:
        process.kill()


async def test_a_frozen_worker_that_was_given_up_starts_afresh(database_dsn: str, directory: Path) -> None:
    """F-05: what it does after it wakes is refused, and its clients come back by themselves."""
    async with (
        cluster(directory, database_dsn, 1) as (process,),
        house_of(database_dsn, process) as house,
    ):
        acme = await house.tailnet("acme")
        site = Site(f"http://127.0.0.1:{process.port}")
        clients = [Client(site, tailnet="acme") for _ in range(6)]
        await asyncio.gather(*(client.join(acme.key) for client in clients))
        (frozen,) = process.workers
        os.kill(frozen, signal.SIGSTOP)
        await house.sql("update processes set dead_at = now()")
        os.kill(frozen, signal.SIGCONT)

        async def another_runs() -> bool:
            return process.workers not in ([], [frozen])

        await until(another_runs, within=20)
        await house.settled(acme, *clients, timeout=15)
        await asyncio.gather(*(client.update_endpoints([client.mark.endpoint(9)]) for client in clients))
        await house.settled(acme, *clients)
        await asyncio.gather(*(client.close() for client in clients))


async def test_workers_do_not_outlive_their_supervisor(database_dsn: str, directory: Path) -> None:
    async with cluster(directory, database_dsn, 1, "--workers", "2") as (process,):
        workers = process.workers
        assert len(workers) == 2
        process.process.kill()
        process.process.wait(20)

        async def are_gone() -> bool:
            return not any(is_alive(worker) for worker in workers)

        await until(are_gone, within=15)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_database_that_turns_us_away_ends_the_start_at_once(
    database_dsn: str, directory: Path
) -> None:
    for name, dsn, said in (
        ("absent", database_dsn.replace("/test_", "/no_such_"), "there is no such database"),
        ("typo", "postgresq://x", "database.url"),
    ):
        process = Served(directory, name, dsn).start()
        assert await process.ended() == 1
        assert said in process.log.read_text()
        assert "Traceback" not in process.log.read_text()


async def test_a_database_that_is_starting_is_waited_for_and_the_wait_can_be_ended(directory: Path) -> None:
    process = Served(directory, "early", f"postgresql://x:secret@127.0.0.1:{free_port()}/x").start()

    async def waits() -> bool:
        return "waiting_for_database" in process.log.read_text()

    await until(waits)
    process.process.send_signal(signal.SIGTERM)
    assert await process.ended() != 0
    assert "secret" not in process.log.read_text()


async def test_a_bad_configuration_names_all_its_faults(directory: Path) -> None:
    process = Served(directory, "bad", "postgresql:///x", listen_addr="nowhere", workers=0, cluster_id="one")
    assert await process.start().ended() == 1
    said = process.log.read_text()
    assert all(name in said for name in ("listen_addr", "workers", "cluster_id"))
    assert "Traceback" not in said
