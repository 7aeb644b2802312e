"""Ten thousand connections that mean no good, against one real worker on loopback (T-05, T-08)."""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.processes import Served
from tests.service import Home, House
from tests.store_world import key_bytes
from tests.waiting import until

from headscale_saas import supervisor
from headscale_saas.config import load
from headscale_saas.store.database import Database
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.site import Site
from headscale_saas.swarm.upgrade import upgrade_request
from headscale_saas.tailcfg.keys import PrivateKey
from headscale_saas.wire.noise import Initiator

CROWD = 10_000
ORIGINS = 10
SPARE_FILES = 600
FEW_FILES = 1000
JOIN_SECONDS = 6.0
"""Ten times what it takes on a machine with nothing else to do."""
LAG, LAG_SECONDS = "headscale_loop_lag_seconds", 0.25
FEW = 2
"""Looks that may find the loop later than that: the machine has other things to do."""
REPLAY_SECONDS, REPLAY_BYTES = 0.002, 40 << 10
WAITING_BYTES = 10 << 10


class Flood:
    """A crowd of connections that all say the same; see `tests.flood`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.open = self.closed = self.snubbed = 0
        self.answers: dict[str, int] = {}

    async def where(self, condition: Callable[["Flood"], bool], seconds: float = 60.0) -> None:
        """Returns when the condition holds for it."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                while not condition(self):
                    line = await self._process.stdout.readline()
                    assert line, "the flood has ended"
                    vars(self).update(json.loads(line))
        except TimeoutError:
            raise AssertionError(f"{vars(self)}") from None


@asynccontextmanager
async def flooded(
    port: int, piece: bytes, *, crowd: int = CROWD, origins: int = ORIGINS
) -> AsyncIterator[Flood]:
    """Connections are being opened, and all break at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.flood", str(port), str(crowd), str(origins)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(piece)
    process.stdin.close()
    try:
        yield Flood(process)
    finally:
        process.kill()
        await process.wait()


class Watched:
    """A served process, and what it takes."""

    def __init__(self, process: Served) -> None:
        self.process = process
        [self.pid] = process.workers

    @property
    def memory(self) -> int:
        """Resident bytes of the worker."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def seconds(self) -> float:
        """CPU time of the worker."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def is_rid_of_the_crowd(self) -> bool:
        return self.files < CROWD // 100

    async def late(self) -> int:
        """How many of ten looks a second found the loop later than LAG_SECONDS, since its start."""
        return int(await self.count(f"{LAG}_count") - await self.count(f"{LAG}_bucket", str(LAG_SECONDS)))

    async def count(self, name: str, below: str | None = None) -> float:
        """A metric; of a histogram what is at or below."""
        text = await self.process.metrics()
        [value] = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if (sample.name, sample.labels.get("le")) == (name, below)
        ]
        return value


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headscale-saas-test-") as made:
        yield Path(made)


@pytest.fixture
def _many_files() -> None:
    """Both ends of a connection are in different processes: each needs a file for every one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CROWD + SPARE_FILES:
        pytest.skip(f"NOT TESTED: {CROWD} connections need `ulimit -Hn` {CROWD + SPARE_FILES}; it is {hard}")


@asynccontextmanager
async def one_worker(
    dsn: str, directory: Path, *, most_files: int | None = None
) -> AsyncIterator[tuple[Watched, House, Site]]:
    process = Served(directory, "p", dsn).start(most_files=most_files)
    try:
        await process.healthy()
        tool = await Database.open(dsn, pool_size=2)
        try:
            house = House(dsn, load(process.config).config, tool)
            yield Watched(process), house, Site(f"http://127.0.0.1:{process.port}")
        finally:
            await tool.close()
    finally:
        process.kill()


async def joined(site: Site, home: Home) -> float:
    """How long an honest client takes to be in."""
    began = time.monotonic()
    async with Client(site, tailnet=home.name) as client:
        await client.join(home.key, timeout=30)
        return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.usefixtures("_many_files")
@pytest.mark.parametrize("who", ["a node", "nobody"])
async def test_t05_ten_thousand_replays_of_one_initiation_at_once(
    database_dsn: str, directory: Path, who: str
) -> None:
    async with one_worker(database_dsn, directory) as (worker, house, site):
        victims, others = await house.tailnet("victims"), await house.tailnet("others")
        async with Client(site, tailnet="victims") as victim:
            await victim.join(victims.key)
            await online(house, victims, victim)
            before = await version(house, victims)
            machine = victim.identity.machine if who == "a node" else PrivateKey(key_bytes("nobody"))
            key, ephemeral = await site.server_key(), PrivateKey(os.urandom(32))
            replay = upgrade_request(
                site.authority, Initiator(machine, key, ephemeral, site.capver).initiation
            )
            memory, seconds, late = worker.memory, worker.seconds, await worker.late()
            async with flooded(worker.process.port, replay) as flood:
                await flood.where(lambda now: bool(now.answers))
                joins = [await joined(site, others) for _ in range(5)]
                await flood.where(lambda now: sum(now.answers.values()) + now.snubbed == CROWD)
                assert set(flood.answers) == {"101"}
                spent, grown = worker.seconds - seconds, worker.memory - memory
                late = await worker.late() - late
            print(f"{who}: {spent:.1f} s of CPU, {grown >> 20} MiB, {flood.snubbed} not answered in time")
            print(f"joins {max(joins):.2f} s, late {late}")
            assert max(joins) < JOIN_SECONDS, joins
            assert spent < CROWD * REPLAY_SECONDS
            assert grown < CROWD * REPLAY_BYTES
            assert late <= FEW
            assert await version(house, victims) == before, "a replay changes nothing"
            assert (victim.calls.dials, len(victim.troubles)) == (1, 0), (
                "whose initiation it was noticed nothing"
            )
            await until(worker.is_rid_of_the_crowd)


@pytest.mark.slow
@pytest.mark.usefixtures("_many_files")
async def test_t08_ten_thousand_connections_that_never_finish_their_request(
    database_dsn: str, directory: Path
) -> None:
    """They keep nobody waiting, and each is closed at its deadline."""
    async with one_worker(database_dsn, directory) as (worker, house, site):
        home = await house.tailnet("acme")
        async with Client(site, tailnet="acme") as early:
            await early.join(home.key)
            memory, late = worker.memory, await worker.late()
            async with flooded(worker.process.port, b"P") as flood:
                await flood.where(lambda now: now.open + now.closed == CROWD)
                joins = [await joined(site, home) for _ in range(5)]
                grown, late = worker.memory - memory, await worker.late() - late
                await flood.where(lambda now: now.closed == CROWD)
                assert not flood.answers
            print(f"{grown >> 20} MiB, joins {max(joins):.2f} s, late {late}")
            assert max(joins) < JOIN_SECONDS, joins
            assert grown < CROWD * WAITING_BYTES
            assert late <= FEW
            assert (early.calls.dials, len(early.troubles)) == (1, 0)
            await until(worker.is_rid_of_the_crowd)


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b"", b"P"], ids=["silent", "in the middle of a request"])
async def test_one_address_cannot_take_all_files(database_dsn: str, directory: Path, piece: bytes) -> None:
    """Without files there were no new clients, no database connections, no keys."""
    async with one_worker(database_dsn, directory, most_files=FEW_FILES) as (worker, house, site):
        home = await house.tailnet("acme")
        async with flooded(worker.process.port, piece, crowd=3 * FEW_FILES, origins=1) as flood:
            await flood.where(lambda now: now.open + now.closed == 3 * FEW_FILES)
            for _ in range(5):
                assert await joined(site, home) < JOIN_SECONDS
            assert worker.files < FEW_FILES
            assert await worker.count("headscale_connections_turned_away_total") > FEW_FILES
        assert "Too many open files" not in worker.process.log.read_text()


def test_a_server_asks_for_as_many_files_as_it_may_have() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        supervisor._raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, supervisor.MOST_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def online(house: House, home: Home, client: Client) -> None:
    """Waits until the database says so: that is the last of what a join writes."""

    async def is_it() -> bool:
        return (await house.node_of(home, client)).online

    await until(is_it)


async def version(house: House, home: Home) -> int:
    async with house.tool.read(home.id) as tx:
        return tx.head.version
