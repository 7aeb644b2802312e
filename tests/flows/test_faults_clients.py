"""Clients that do not read, or vanish: nothing piles up for them, and nobody waits for them."""

import asyncio
import time

import pytest
from tests.service import Home, House, service
from tests.waiting import until

from headscale_saas.swarm import frames
from headscale_saas.swarm.client import Client
from headscale_saas.transport.limits import Limits

CHANGES = 60


def queued(house: House) -> int:
    """Bytes that wait in the streams of all workers."""
    return sum(
        session.stream.queued  # type: ignore[attr-defined]
        for running in house.workers
        for tailnet in running.worker._hub._tailnets.values()
        for session in tailnet.sessions.values()
    )


async def churn(home: Home, changing: Client, watching: Client) -> float:
    """Big changes, one after the other; the longest that a watcher waited to see its own one."""
    longest = 0.0
    for number in range(CHANGES):
        endpoints = [changing.mark.endpoint(1 + host, 1000 + number) for host in range(40)]
        began = time.monotonic()
        await changing.update_endpoints(endpoints)
        await watching.netmap_where(
            lambda n, want=tuple(endpoints): any(set(p.endpoints) == set(want) for p in n.peers.values())
        )
        longest = max(longest, time.monotonic() - began)
    return longest


async def test_clients_that_do_not_read_delay_nobody_and_catch_up_later(database_dsn: str) -> None:
    """T-19."""
    async with service(database_dsn, workers=1) as house:
        acme = await house.tailnet("acme")
        changing, watching, *stuck = [house.client(acme) for _ in range(6)]
        for client in (changing, watching, *stuck):
            await client.join(acme.key)
        await house.settled(acme, changing, watching, *stuck)
        for client in stuck:
            client.stall()
        longest = await churn(acme, changing, watching)
        assert longest < 2.0
        assert queued(house) <= len(stuck) * 2 * Limits().stream_queue_bytes
        await house.settled(acme, changing, watching)
        for client in stuck:
            client.unstall()
        await house.settled(acme, changing, watching, *stuck)
        assert all(client.inbox.full_netmaps == 1 for client in stuck), "the streams stayed open"
        await asyncio.gather(*(client.close() for client in (changing, watching, *stuck)))


SHUT = frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0, bytes((0, 4, 0, 0, 0, 0)))
"""An HTTP/2 client that opens no window: headers may be sent to it, and not a byte of a body."""


async def test_a_client_that_opens_no_window_costs_one_netmap_at_most(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T-18: what it cannot be sent is not kept either; others go on."""
    async with service(database_dsn, workers=1) as house:
        acme = await house.tailnet("acme")
        changing, watching, shut = (house.client(acme) for _ in range(3))
        for client in (changing, watching, shut):
            await client.join(acme.key)
        await house.settled(acme, changing, watching, shut)
        await shut.close()
        with monkeypatch.context() as patch:
            patch.setattr(frames, "opening", lambda: SHUT)
            await shut.calls.connected()
        shut.poller.start()

        async def is_connected() -> bool:
            return len(house.workers[0].worker._hub) == 3 and queued(house) > 0

        await until(is_connected)
        first = queued(house)
        assert await churn(acme, changing, watching) < 2.0
        assert queued(house) == first
        assert shut.inbox.full_netmaps == 1
        await house.settled(acme, changing, watching)
        await asyncio.gather(*(client.close() for client in (changing, watching, shut)))


async def test_a_client_that_vanished_delays_nobody_and_may_come_back(database_dsn: str) -> None:
    """Without a FIN the stream stays open until TCP gives it up; a newer one ends it at once."""
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        gone = house.client(acme, 0)
        async with house.client(acme, 0) as changing, house.client(acme, 1) as watching:
            for client in (gone, changing, watching):
                await client.join(acme.key)
            await house.settled(acme, gone, changing, watching)
            gone.vanish()
            assert await churn(acme, changing, watching) < 2.0
            back = house.client(acme, 1, identity=gone.identity, hostname=gone.hostname)
            back.said.endpoints = gone.endpoints
            await back.start_polling()

            async def only_the_new_stream() -> bool:
                return sum(len(running.worker._hub) for running in house.workers) == 3

            await until(only_the_new_stream)
            await house.settled(acme, changing, watching, back)
            await back.close()


async def test_a_client_that_does_not_read_does_not_hold_up_the_end_of_its_worker(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        stuck = house.client(acme, 0, reconnects=False)
        async with house.client(acme, 1) as changing, house.client(acme, 1) as watching:
            for client in (stuck, changing, watching):
                await client.join(acme.key)
            await house.settled(acme, stuck, changing, watching)
            stuck.stall()
            await churn(acme, changing, watching)
            assert await asyncio.wait_for(house.workers[0].stop(), 8) == 0
            await house.settled(acme, changing, watching)
        stuck.unstall()
        await stuck.close()
