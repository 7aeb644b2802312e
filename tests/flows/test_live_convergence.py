"""Whatever happens to wake-ups, every client ends up with what the database says, in order."""

import asyncio
import random

import pytest
from tests.service import TESTER, Home, House, service
from tests.waiting import until

from headscale_saas.actions import nodes
from headscale_saas.actions.approvals import policy_of
from headscale_saas.live import follower, takeovers
from headscale_saas.store import feed
from headscale_saas.swarm.client import Client
from headscale_saas.tailcfg.maps import MapResponse

FOR_EVER = 3600.0


async def joined(house: House, home: Home, count: int) -> list[Client]:
    """So many clients, spread over the workers."""
    clients = [house.client(home, number % len(house.workers)) for number in range(count)]
    await asyncio.gather(*(client.join(home.key) for client in clients))
    return clients


async def left(clients: list[Client]) -> None:
    await asyncio.gather(*(client.close() for client in clients))


async def everything_changes(house: House, home: Home, clients: list[Client]) -> None:
    """Changes of all kinds, from both workers and from an admin at once."""
    first, second, third, fourth, *_ = clients
    ids = [client.netmap.node.id for client in clients]
    await asyncio.gather(
        first.update_endpoints([first.mark.endpoint(4711)]),
        second.update_hostinfo(os_version=f"{second.mark.text} again"),
        nodes.rename_node(house.tool, TESTER, home.id, ids[2], "renamed"),
        nodes.tag_node(house.tool, policy_of, TESTER, home.id, ids[3], ["tag:server"]),
        nodes.expire_node(house.tool, TESTER, home.id, ids[4]),
    )
    await third.update_endpoints([third.mark.endpoint(number) for number in range(1, 9)])
    await fourth.reconnect()


async def test_all_kinds_of_changes_reach_peers_on_all_workers(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme, evil = await house.tailnet("acme"), await house.tailnet("evil")
        clients, others = await joined(house, acme, 6), await joined(house, evil, 2)
        await house.settled(acme, *clients)
        await everything_changes(house, acme, clients)
        await house.settled(acme, *clients)
        await house.settled(evil, *others)
        await left(clients + others)


async def test_without_listen_the_safety_poll_finds_what_moved(database_dsn: str) -> None:
    """As behind PgBouncer."""
    async with service(database_dsn, workers=2, database={"url": database_dsn, "pooler": True}) as house:
        acme = await house.tailnet("acme")
        clients = await joined(house, acme, 6)
        await everything_changes(house, acme, clients)
        await house.settled(acme, *clients, timeout=4 * follower.POLL_SECONDS)
        await left(clients)


async def test_with_half_of_the_doorbells_lost_everything_converges(database_dsn: str) -> None:
    chance = random.Random(7)
    async with service(database_dsn, workers=2, drop=lambda payload: chance.random() < 0.5) as house:
        acme = await house.tailnet("acme")
        clients = await joined(house, acme, 6)
        await everything_changes(house, acme, clients)
        await house.settled(acme, *clients, timeout=4 * follower.POLL_SECONDS)
        await left(clients)


async def test_a_listener_that_was_deaf_looks_at_everything(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the safety poll: what was missed is found by the new connection alone."""
    monkeypatch.setattr(follower, "POLL_SECONDS", FOR_EVER)
    monkeypatch.setattr(feed, "RETRY_SECONDS", 3.0)  # long enough to see both deaf at once
    listeners = "from pg_stat_activity where query like 'notify headscale, ''h%'"
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        clients = await joined(house, acme, 4)
        await house.settled(acme, *clients)

        async def both_hear() -> bool:
            return len(await house.sql(f"select {listeners}")) == 2

        await until(both_hear)
        await house.sql(f"select pg_terminate_backend(pid) {listeners}")
        await until(lambda: not any(running.worker._listener.is_listening for running in house.workers))
        await nodes.rename_node(house.tool, TESTER, acme.id, clients[0].netmap.node.id, "unheard")
        await house.settled(acme, *clients)
        await left(clients)


async def test_without_any_doorbell_older_streams_elsewhere_still_end(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeovers, "POLL_SECONDS", 0.2)
    async with service(database_dsn, workers=2, drop=lambda payload: True) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0, reconnects=False) as old:
            await old.join(acme.key)
            async with house.client(acme, 1, identity=old.identity) as new:
                await new.start_polling()
                await asyncio.wait_for(old.poller.finished(), 5)
                await house.settled(acme, new)


async def test_changes_arrive_in_their_order_and_none_before_the_whole(database_dsn: str) -> None:
    """One peer counts upwards; what another is told of it never goes back (I5)."""
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as counting, house.client(acme, 1) as watching:
            await counting.join(acme.key)
            await watching.join(acme.key)
            ports: list[int] = []
            messages: list[MapResponse] = []
            merge = watching.inbox.on_message

            def look(message: MapResponse) -> None:
                assert merge
                merge(message)
                messages.append(message)
                for change in message.peers_changed_patch or ():
                    ports.extend(int(end.rpartition(":")[2]) for end in change.endpoints or ())

            watching.inbox.on_message = look
            for port in range(2000, 2060):
                await counting.update_endpoints([counting.mark.endpoint(1, port)])
                if port == 2030:
                    messages.clear()
                    await watching.reconnect()
            await house.settled(acme, counting, watching)
            whole = next(message for message in messages if not message.keep_alive)
            assert whole.node
            assert whole.peers
            assert ports == sorted(ports)
            assert ports[-1] == 2059


async def test_tailnets_with_many_changes_at_once_stay_apart(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        homes = [await house.tailnet(name) for name in ("red", "green", "blue")]
        crowds = [await joined(house, home, 5) for home in homes]

        async def work(home: Home, clients: list[Client]) -> None:
            for number in range(5):
                await asyncio.gather(
                    *(client.update_endpoints([client.mark.endpoint(9 + number)]) for client in clients)
                )
                await clients[number].reconnect()

        await asyncio.gather(*(work(home, clients) for home, clients in zip(homes, crowds, strict=True)))
        for home, clients in zip(homes, crowds, strict=True):
            await house.settled(home, *clients)
            await left(clients)
