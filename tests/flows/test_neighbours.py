"""One tailnet does its worst; the others do not wait for it (I11 of the design)."""

import asyncio
import time
from contextlib import suppress

import pytest
from tests.service import Home, House, service

from headscale_saas.errors import Error
from headscale_saas.swarm.client import Client

LOUD, QUIET = 300, 6
STEADY_SECONDS = 6.0
JOIN_SECONDS, CHANGE_SECONDS, LAG_SECONDS = 3.0, 2.0, 0.5
"""Ten times what is usual on a small machine that is busy with other things, too."""


async def crowd(house: House, home: Home) -> list[Client]:
    """Clients that count what they are told, so that the test is not its own neighbour."""
    clients = [house.client(home, number % 2, decodes=False) for number in range(LOUD)]
    slots = asyncio.Semaphore(16)

    async def join(client: Client) -> None:
        async with slots:
            await client.join(home.key, timeout=30)

    await asyncio.gather(*(join(client) for client in clients))
    return clients


async def storm(clients: list[Client]) -> None:
    """All reconnect, over and over."""
    while True:
        for client in clients:
            with suppress(Error, OSError):
                client.drop()
            await asyncio.sleep(0.005)


async def scribble(clients: list[Client]) -> None:
    """Eight at a time write as fast as they are answered."""

    async def writer(start: int) -> None:
        for number in range(start, 1 << 30, 8):
            client = clients[number % len(clients)]
            with suppress(Error, OSError):
                await client.update_endpoints([client.mark.endpoint(1 + number % 65535)])
            await asyncio.sleep(0)

    await asyncio.gather(*(writer(start) for start in range(8)))


class Lag:
    """How late the loop is at worst: of the test and both workers together, since it is one loop."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def watch(self) -> None:
        while True:
            due = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            self.worst = max(self.worst, time.monotonic() - due)


@pytest.mark.slow
async def test_a_tailnet_that_storms_and_writes_does_not_delay_the_others(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        loud, quiet = await house.tailnet("loud"), await house.tailnet("quiet")
        noisy = await crowd(house, loud)
        calm = [house.client(quiet, number % 2) for number in range(QUIET)]
        await asyncio.gather(*(client.join(quiet.key) for client in calm))
        lag = Lag()
        tasks = [asyncio.create_task(work) for work in (storm(noisy), scribble(noisy), lag.watch())]
        joins, changes = [], []
        deadline = time.monotonic() + STEADY_SECONDS
        while time.monotonic() < deadline:
            newcomer = house.client(quiet, len(joins) % 2)
            began = time.monotonic()
            await newcomer.join(quiet.key, timeout=30)
            joins.append(time.monotonic() - began)
            began = time.monotonic()
            endpoint = newcomer.mark.endpoint(1 + len(joins), 2000)
            await newcomer.update_endpoints([endpoint])
            for client in calm:
                await client.netmap_where(
                    lambda n, end=endpoint: any(p.endpoints == (end,) for p in n.peers.values()), 30
                )
            changes.append(time.monotonic() - began)
            calm.append(newcomer)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert len(joins) >= 3
        assert max(joins) < JOIN_SECONDS, sorted(joins)
        assert max(changes) < CHANGE_SECONDS, sorted(changes)
        assert lag.worst < LAG_SECONDS
        assert not await house.sql("select 1 from processes where dead_at is not null")
        assert all(running.runs for running in house.workers)
        assert all(client.inbox.full_netmaps == 1 for client in calm), "nobody quiet lost a stream"
        await house.settled(quiet, *calm)
        print(f"joins {max(joins):.3f} s, changes {max(changes):.3f} s, lag {lag.worst:.3f} s, {len(joins)}")
        await asyncio.gather(*(client.close() for client in (*noisy, *calm)))
