"""The few tables that know all tailnets."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from headscale_saas.errors import AlreadyUsed, Conflict, Invalid, LimitReached, NotFound
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.store.directory import PendingLogin
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailnet.model import ClusterId, NodeId, ProcessNumber, TailnetId
from store_world import ADMIN, CLUSTER, key_bytes, new_tailnet, process

HOUR = timedelta(hours=1)


def login(number: int, **changes: Any) -> PendingLogin:
    now = datetime.now(UTC)
    waiting = PendingLogin(
        id_hash=key_bytes("login", number),
        flow="register",
        machine_key=MachineKey(key_bytes("machine", number)),
        node_key=NodeKey(key_bytes("node", number)),
        request="{}",
        created_at=now,
        expires_at=now + HOUR,
    )
    return msgspec.structs.replace(waiting, **changes)


async def test_a_login_is_decided_once(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "t")
        async with database.directory() as tx:
            await directory.put_login(tx, login(1))
            decided = await directory.decide_login(
                tx, login(1).id_hash, "approved", tailnet=tailnet, node=NodeId(1)
            )
            assert (decided.verdict, decided.tailnet, decided.node) == ("approved", tailnet, 1)
            await directory.decide_login(tx, login(1).id_hash, "approved", tailnet=tailnet, node=NodeId(1))
            with pytest.raises(AlreadyUsed):
                await directory.decide_login(tx, login(1).id_hash, "rejected")
            with pytest.raises(NotFound):
                await directory.decide_login(tx, login(2).id_hash, "rejected")


async def test_a_machine_waits_once_and_not_for_ever(database_dsn: str) -> None:
    async with process(database_dsn) as database, database.directory() as tx:
        await directory.put_login(tx, login(1))
        second = login(1, id_hash=key_bytes("another"))
        await directory.put_login(tx, second)
        assert await directory.find_login(tx, login(1).id_hash) is None
        assert await directory.find_login(tx, second.id_hash) == second
        await directory.put_login(tx, login(2, expires_at=datetime.now(UTC) - HOUR))
        assert await directory.find_login(tx, login(2).id_hash) is None
        assert await directory.delete_expired_logins(tx) == 1


async def test_the_waiting_room_is_bounded(database_dsn: str) -> None:
    async with process(database_dsn) as database, database.directory() as tx:
        for number in (1, 2, 2, 1):
            await directory.put_login(tx, login(number), most=2)
        with pytest.raises(LimitReached):
            await directory.put_login(tx, login(3), most=2)


async def test_names_and_numbers_are_taken_once(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        await new_tailnet(database, "twice")
        with pytest.raises(Conflict) as taken:
            await new_tailnet(database, "twice")
        assert taken.value.code == "tailnet_taken"
        with pytest.raises(Invalid):
            await new_tailnet(database, "Not A Label")
        with pytest.raises(Conflict):
            await new_tailnet(database, "nowhere", ClusterId(99))
        with pytest.raises(Conflict):
            async with database.directory() as tx:
                await directory.create_cluster(tx, CLUSTER, "again")
        async with database.directory() as tx:
            head = await directory.tailnet_by_name(tx, "twice")
            assert [cluster.id for cluster in await directory.list_clusters(tx)] == [CLUSTER]
            assert head is not None
            assert await directory.list_tailnets(tx) == [head]
            assert await directory.tailnet_head(tx, head.id) == head
            assert await directory.tailnet_head(tx, TailnetId(404)) is None


async def test_one_of_many_gets_the_lease(database_dsn: str) -> None:
    async with process(database_dsn) as one, process(database_dsn) as two:

        async def take(database: Database) -> int | None:
            async with database.directory() as tx:
                return await directory.take_lease(tx, "upkeep", HOUR)

        first = await asyncio.gather(take(one), take(two))
        assert sorted(fence is None for fence in first) == [False, True]
        holder, other = (one, two) if first[0] else (two, one)
        assert await take(holder) == 1
        assert await take(other) is None
        async with other.directory() as tx:
            await directory.release_lease(tx, "upkeep")  # not ours: harmless
        assert await take(other) is None
        async with holder.directory() as tx:
            await directory.release_lease(tx, "upkeep")
        assert await take(other) == 2


async def test_the_silent_are_declared_dead_once(database_dsn: str) -> None:
    async with process(database_dsn) as silent, process(database_dsn) as alive:
        async with alive.directory() as tx:
            await tx.execute(
                "update processes set heartbeat_at = now() - interval '7 seconds' where number = $1",
                silent.process,
            )
        async with alive.directory() as tx:
            assert await directory.declare_dead(tx) == [silent.process]
            assert await directory.declare_dead(tx) == []
            assert not await directory.heartbeat(tx, silent.process)
            assert await directory.heartbeat(tx, alive.process)
            assert [p.number for p in await directory.list_processes(tx) if p.dead_at] == [silent.process]
        async with alive.directory() as tx:
            assert await directory.forget_dead(tx, timedelta(0)) == 1
            assert not await directory.heartbeat(tx, silent.process)
            number = await directory.register_process(tx, CLUSTER, "next")
            assert number > alive.process > ProcessNumber(0)


async def test_one_noise_key_serves(database_dsn: str) -> None:
    old, new = MachineKey(key_bytes("old")), MachineKey(key_bytes("new"))
    async with process(database_dsn) as database, database.directory() as tx:
        assert await directory.add_noise_key(tx, old, b"wrapped", "serving")
        assert not await directory.add_noise_key(tx, new, None, "serving")
        assert await directory.add_noise_key(tx, new, None, "accepted")
        assert await directory.set_noise_key_state(tx, new, "serving")
        keys = await directory.list_noise_keys(tx)
        assert [(key.public_key, key.state) for key in keys] == [(new, "serving"), (old, "accepted")]
        assert not await directory.retire_noise_key(tx, new)
        assert await directory.retire_noise_key(tx, old)
        keys = await directory.list_noise_keys(tx)
        assert [(key.public_key, key.state) for key in keys] == [(new, "serving"), (old, "retired")]
        assert keys[1].private_wrapped is None
        assert not await directory.retire_noise_key(tx, old)
        assert await directory.revive_noise_key(tx, old, b"wrapped")
        assert not await directory.revive_noise_key(tx, new, b"wrapped")


async def test_keys_lead_to_their_tailnet(database_dsn: str) -> None:
    machine, old, new = (key_bytes(part) for part in ("machine", "old", "new"))
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "keys")

        async def reserve(tx: TailnetTx) -> None:
            await directory.reserve_auth_key(tx, "auth")
            await directory.reserve_api_key(tx, "api")
            await directory.reserve_machine(tx, MachineKey(machine), NodeId(1))
            await directory.reserve_machine(tx, MachineKey(machine), NodeId(1))
            for key in (old, new):
                await directory.reserve_node_key(tx, NodeKey(key), MachineKey(machine), NodeId(1))

        async def release(tx: TailnetTx) -> None:
            await directory.release_auth_key(tx, "auth")
            await directory.release_node_key(tx, NodeKey(old))

        async def forget(tx: TailnetTx) -> None:
            await directory.release_node(tx, NodeId(1), MachineKey(machine))

        await database.write(tailnet, ADMIN, reserve)
        async with database.directory() as tx:
            assert await directory.tailnet_of_auth_key(tx, "auth") == tailnet
            assert await directory.tailnet_of_api_key(tx, "api") == tailnet
            assert await directory.tailnet_of_auth_key(tx, "api") is None
            nodes = await directory.nodes_of_machine(tx, MachineKey(machine))
            assert [(ref.tailnet, ref.node, ref.version) for ref in nodes] == [(tailnet, 1, 0)]
            ref = await directory.node_of_key(tx, NodeKey(old))
            assert ref is not None
            assert (ref.tailnet, ref.machine_key) == (tailnet, machine)
        await database.write(tailnet, ADMIN, release)
        async with database.directory() as tx:
            assert await directory.tailnet_of_auth_key(tx, "auth") is None
            assert await directory.node_of_key(tx, NodeKey(old)) is None
            assert await directory.node_of_key(tx, NodeKey(new)) is not None
        await database.write(tailnet, ADMIN, forget)
        async with database.directory() as tx:
            assert await directory.nodes_of_machine(tx, MachineKey(machine)) == []
