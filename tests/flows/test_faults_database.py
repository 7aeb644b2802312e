"""The database goes away and comes back; nobody has to do anything (I10 of the design: static stability)."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.service import House, service
from tests.waiting import until

from headscale_saas.errors import Error
from headscale_saas.postgres import EmbeddedPostgres
from headscale_saas.store.migrate import migrate
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.replies import UnexpectedStatus

AWAY_SECONDS = 15.0


class Restartable:
    """A PostgreSQL of the test's own, which its owner starts again whenever it ends."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self.dsn = postgres.create_database("headscale")
        migrate(self.dsn)

    @property
    def pid(self) -> int:
        return int((self.postgres.data_dir / "postmaster.pid").read_text().split()[0])

    def restart(self, how: signal.Signals) -> None:
        """SIGINT is the fast stop, SIGQUIT the one without a clean end."""
        os.kill(self.pid, how)


@pytest.fixture
def server() -> Iterator[Restartable]:
    """Not pytest's directory, which only its owner may enter."""
    with tempfile.TemporaryDirectory(prefix="headscale-saas-test-", dir=memory()) as directory:
        Path(directory).chmod(0o711)
        postgres = EmbeddedPostgres(Path(directory) / "postgres")
        postgres.start()
        try:
            yield Restartable(postgres)
        finally:
            postgres.stop()


def memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


async def answers(house: House) -> bool:
    try:
        await house.sql("select 1")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


async def persist(clients: list[Client], troubles: list[Exception]) -> None:
    """Changes from all clients, until cancelled; what fails is kept."""
    for number in range(1, 1 << 30):
        for client in clients:
            try:
                await client.update_endpoints([client.mark.endpoint(1 + number % 65535)])
            except (Error, OSError) as error:
                troubles.append(error)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast stop", "crash"])
async def test_a_restart_of_the_database_under_load_ends_no_stream(
    server: Restartable, how: signal.Signals
) -> None:
    """F-12, F-13: writes fail with 503 for a moment, and everything recovers by itself."""
    async with service(server.dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        clients = [house.client(acme, number % 2) for number in range(8)]
        await asyncio.gather(*(client.join(acme.key) for client in clients))
        await house.settled(acme, *clients)
        troubles: list[Exception] = []
        load = asyncio.create_task(persist(clients, troubles))
        before = server.pid
        server.restart(how)

        async def is_another() -> bool:
            return await asyncio.to_thread(_pid, server) not in (0, before) and await answers(house)

        await until(is_another, within=AWAY_SECONDS)

        async def joins_again() -> bool:
            try:
                async with house.client(acme, 0) as newcomer:
                    await newcomer.join(acme.key, timeout=5)
            except (Error, OSError) as error:
                troubles.append(error)
                return False
            return True

        await until(joins_again, within=5)
        load.cancel()
        await asyncio.wait([load])
        await asyncio.gather(*(client.report() for client in clients))
        await house.settled(acme, *clients, timeout=10)
        assert all(client.inbox.full_netmaps == 1 for client in clients), "no stream ended"
        assert {error.status for error in troubles if isinstance(error, UnexpectedStatus)} <= {503}
        assert all(isinstance(error, UnexpectedStatus) for error in troubles), troubles
        assert all(running.runs for running in house.workers)
        await asyncio.gather(*(client.close() for client in clients))


def _pid(server: Restartable) -> int:
    try:
        return server.pid
    except (OSError, IndexError, ValueError):
        return 0


async def test_without_a_database_streams_stay_and_new_ones_of_known_nodes_are_served(
    server: Restartable,
) -> None:
    async with service(server.dsn, workers=1) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme) as alice, house.client(acme) as bob:
            await alice.join(acme.key)
            await bob.join(acme.key)
            await house.settled(acme, alice, bob)
            running = house.workers[0]
            await asyncio.to_thread(server.postgres.stop)
            await alice.reconnect()
            assert len(alice.netmap.peers) == 1
            with pytest.raises(UnexpectedStatus) as refused:
                await bob.update_endpoints([bob.mark.endpoint(7)])
            assert refused.value.status == 503
            assert bob.inbox.full_netmaps == 1
            assert running.runs
            assert await asyncio.wait_for(running.stop(), 12) == 0
