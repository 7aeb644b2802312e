"""Who is online, across workers that live, freeze and die."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest
from tests.registration import settle
from tests.service import TESTER, Home, House, service
from tests.waiting import until

from headscale_saas.actions import nodes, presence
from headscale_saas.errors import Refused
from headscale_saas.live.cache import Snapshot
from headscale_saas.live.presence import Admission
from headscale_saas.store import sessions
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.replies import UnexpectedStatus
from headscale_saas.tailnet.model import NodeId, TailnetId, Version

SECOND = timedelta(seconds=1)


async def now(house: House) -> datetime:
    async with house.tool.directory() as tx:
        return await sessions.database_time(tx)


async def version(house: House, home: Home) -> Version:
    async with house.tool.read(home.id) as tx:
        return tx.head.version


async def streams(house: House) -> int:
    """The map streams that the workers hold open."""
    return sum(len(running.worker._hub) for running in house.workers)


async def is_ended(house: House, home: Home, client: Client) -> None:
    """Waits until the database knows that the client's stream is over."""
    node = await house.node_of(home, client)

    async def over() -> bool:
        sql = "select 1 from sessions where tailnet_id = $1 and node_id = $2 and ended_at is not null"
        return bool(await house.sql(sql, home.id, node.id))

    await until(over)


async def is_admitted(house: House, home: Home, client: Client) -> None:
    """Waits until the database knows of the client's stream."""
    node = await house.node_of(home, client)

    async def there() -> bool:
        sql = "select 1 from sessions where tailnet_id = $1 and node_id = $2 and ended_at is null"
        return bool(await house.sql(sql, home.id, node.id))

    await until(there)


async def test_who_leaves_goes_offline_after_the_grace_and_not_before(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as leaving, house.client(acme, 1) as watching:
            await leaving.join(acme.key)
            await watching.join(acme.key)
            peer = leaving.netmap.node.id
            await watching.netmap_where(lambda n: peer in n.peers and bool(n.peers[peer].online))
            left = await now(house)
            await leaving.close()
            await is_ended(house, acme, leaving)
            assert await settle(house.tool, left + presence.GRACE - SECOND) == 0
            assert (await house.node_of(acme, leaving)).online
            await settle(house.tool, await now(house) + presence.GRACE)
            netmap = await watching.netmap_where(lambda n: n.peers[peer].online is False)
            assert netmap.peers[peer].last_seen
            await house.settled(acme, watching)


async def test_a_reconnect_within_the_grace_costs_no_version(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as alice, house.client(acme, 1) as elsewhere:
            await alice.join(acme.key)
            await elsewhere.join(acme.key)
            await until(lambda: _all_online(house, acme))
            before = await version(house, acme)
            await alice.reconnect()
            elsewhere.identity.machine, elsewhere.identity.node_key = (
                alice.identity.machine,
                alice.identity.node_key,
            )
            await elsewhere.reconnect()  # as alice, who is on two workers for a moment
            await is_admitted(house, acme, alice)
            assert await version(house, acme) == before


async def _all_online(house: House, home: Home) -> bool:
    return all(node.online for node in await nodes.list_nodes(house.tool, home.id))


@pytest.mark.parametrize("workers", [1, 2])
async def test_of_a_hundred_streams_of_one_node_the_newest_wins(database_dsn: str, workers: int) -> None:
    """T-20. Late ends of the others do not hide it."""
    async with service(database_dsn, workers=workers) as house:
        acme = await house.tailnet("acme")
        first = house.client(acme, 0, reconnects=False)
        await first.join(acme.key)
        crowd = [
            house.client(acme, number % workers, identity=first.identity, reconnects=False)
            for number in range(100)
        ]
        await asyncio.gather(*(client.start_polling(timeout=3) for client in crowd), return_exceptions=True)

        async def one_is_left() -> bool:
            return await streams(house) == 1

        await until(one_is_left)
        last = house.client(acme, 0, identity=first.identity, reconnects=False)
        await last.start_polling()

        async def all_others_ended() -> bool:
            return not any(client.poller.is_wanted for client in (first, *crowd))

        await until(all_others_ended)
        assert last.poller.is_wanted
        assert await streams(house) == 1
        await is_admitted(house, acme, last)
        assert await settle(house.tool, await now(house) + presence.GRACE) == 0
        assert (await house.node_of(acme, last)).online
        await house.settled(acme, last)
        await asyncio.gather(*(client.close() for client in (first, last, *crowd)))


async def _beat_long_ago(house: House, index: int) -> None:
    number = house.workers[index].database.process
    await house.sql("update processes set heartbeat_at = now() - interval '20 s' where number = $1", number)
    await house.sql("update leases set held_until = now() where process = $1", number)


async def test_the_nodes_of_a_dead_worker_go_offline_unless_they_came_back(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        lost, moved = (house.client(acme, 0, reconnects=False) for _ in range(2))
        async with house.client(acme, 1) as watching:
            for client in (lost, moved, watching):
                await client.join(acme.key)
            await until(lambda: _all_online(house, acme))
            await house.workers[0].die()
            async with house.client(acme, 1, identity=moved.identity, hostname=moved.hostname) as again:
                again.said.endpoints = moved.endpoints
                await again.start_polling()
                await is_admitted(house, acme, again)
                await _beat_long_ago(house, 0)
                peer = lost.netmap.node.id
                await watching.netmap_where(lambda n: n.peers[peer].online is False)
                assert (await house.node_of(acme, again)).online
                await house.settled(acme, watching, again)


async def test_a_worker_that_was_declared_dead_cannot_write_and_ends(database_dsn: str) -> None:
    """As after a freeze: its streams were given up, so it must start afresh."""
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0, reconnects=False) as frozen, house.client(acme, 1) as watching:
            await frozen.join(acme.key)
            await watching.join(acme.key)
            number = house.workers[0].database.process
            before = (await house.node_of(acme, frozen)).endpoints
            await house.sql("update processes set dead_at = now() where number = $1", number)
            with pytest.raises(UnexpectedStatus) as refused:
                await frozen.update_endpoints([frozen.mark.endpoint(4711)])
            assert refused.value.status == 503
            assert await house.workers[0].ended(10) == 1
            assert (await house.node_of(acme, frozen)).endpoints == before
            fresh = await house.start_worker()
            assert fresh.database.process > number
            back = Client(fresh.site, tailnet="acme", identity=frozen.identity, hostname=frozen.hostname)
            await back.start_polling()
            await house.settled(acme, back, watching)
            await back.close()


async def test_the_heartbeat_alone_notices_that_others_gave_the_worker_up(database_dsn: str) -> None:
    async with service(database_dsn, workers=1) as house:
        number = house.workers[0].database.process
        await house.sql("update processes set dead_at = now() where number = $1", number)
        assert await house.workers[0].ended(10) == 1


async def test_a_deleted_node_is_bidden_farewell_and_its_stream_ends(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0, reconnects=False) as gone, house.client(acme, 1) as watching:
            await gone.join(acme.key)
            await watching.join(acme.key)
            await house.settled(acme, gone, watching)
            await nodes.delete_node(house.tool, TESTER, acme.id, gone.netmap.node.id)
            await gone.netmap_where(lambda n: n.node is not None and n.node.expired)
            await asyncio.wait_for(gone.poller.finished(), 5)
            await house.settled(acme, watching)
            assert not watching.netmap.peers


async def test_who_logs_out_is_seen_to_expire_and_needs_a_new_login(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as leaving, house.client(acme, 1) as watching:
            await leaving.join(acme.key)
            await watching.join(acme.key)
            peer = leaving.netmap.node.id
            await house.settled(acme, leaving, watching)
            assert (await leaving.logout()).node_key_expired
            await watching.netmap_where(lambda n: peer not in n.peers or n.peers[peer].expired)
            await house.settled(acme, watching)
            again = await leaving.register()
            assert again.node_key_expired
            await leaving.rotate(acme.key)
            assert leaving.netmap.node.id == peer
            await house.settled(acme, leaving, watching)


async def test_an_expired_node_polls_but_tells_its_peers_nothing(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as late, house.client(acme, 1) as watching:
            await late.join(acme.key)
            await watching.join(acme.key)
            peer = late.netmap.node.id
            await nodes.expire_node(house.tool, TESTER, acme.id, peer)
            await watching.netmap_where(lambda n: peer in n.peers and n.peers[peer].expired)
            await late.netmap_where(lambda n: n.node.expired)
            before = watching.netmap.peers[peer].endpoints
            with pytest.raises(UnexpectedStatus, match="403"):
                await late.update_endpoints([late.mark.endpoint(4711)])
            await house.settled(acme, late, watching)
            assert watching.netmap.peers[peer].endpoints == before
            await late.rotate(acme.key)
            await watching.netmap_where(lambda n: n.peers[peer].endpoints == (late.mark.endpoint(4711),))
            await house.settled(acme, late, watching)


async def test_a_single_use_key_lets_one_of_64_clients_in(database_dsn: str) -> None:
    """Through four workers at once (I7 of the design: one winner)."""
    async with service(database_dsn, workers=4) as house:
        acme = await house.tailnet("acme")
        key = await house.key(acme.id, acme.user, reusable=False)
        clients = [house.client(acme, number % 4) for number in range(64)]
        answers = await asyncio.gather(*(one.register(key) for one in clients), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert [answer for answer in answers if isinstance(answer, BaseException)] == refused
        assert len(refused) == 63
        assert {error.message for error in refused} == {"authkey already used"}
        assert len(await nodes.list_nodes(house.tool, acme.id)) == 1
        winner = next(one for one, answer in zip(clients, answers, strict=True) if answer not in refused)
        await winner.start_polling()
        await house.settled(acme, winner)
        await asyncio.gather(*(client.close() for client in clients))


async def test_a_stream_that_was_not_admitted_while_its_netmap_was_made_ends(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a newer one is admitted elsewhere: served all the same, it would be nobody's."""
    async with service(database_dsn) as house:
        acme = await house.tailnet("acme")
        worker = house.workers[0].worker
        admit, at_least = worker._presence._admit, worker._follower.at_least
        refused = asyncio.Event()

        async def refuse_once(tailnet: TailnetId, nodes: Sequence[NodeId]) -> Mapping[NodeId, Admission]:
            if refused.is_set():
                return await admit(tailnet, nodes)
            refused.set()
            return {}

        async def later(tailnet: TailnetId, version: Version) -> Snapshot:
            await refused.wait()
            await until(lambda: not worker._presence._busy)
            return await at_least(tailnet, version)

        monkeypatch.setattr(worker._presence, "_admit", refuse_once)
        monkeypatch.setattr(worker._follower, "at_least", later)
        async with house.client(acme) as client:
            await client.join(acme.key)
            await until(lambda: _all_online(house, acme))
            await house.settled(acme, client)
