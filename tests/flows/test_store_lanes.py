"""The write lane: who shares a transaction, who is refused, who is never run."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import psycopg
import pytest
from tests.waiting import until

from headscale_saas.errors import Conflict, NotFound, Refused, Unavailable
from headscale_saas.store import directory, pool
from headscale_saas.store.constraints import Fenced, OutcomeUnknown
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import TailnetId, Version
from store_world import ADMIN, OTHER_CLUSTER, a_node, new_tailnet, process, put_node

Verb = Callable[[TailnetTx], Awaitable[Version]]


def put(number: int, **changes: Any) -> Verb:
    async def verb(tx: TailnetTx) -> Version:
        await put_node(tx, a_node(number, **changes))
        return tx.next_version

    return verb


async def behind_a_slow_one(
    database: Database, tailnet: TailnetId
) -> tuple[asyncio.Event, asyncio.Task[None]]:
    go, is_in = asyncio.Event(), asyncio.Event()

    async def slow(tx: TailnetTx) -> None:
        is_in.set()
        await go.wait()

    task = asyncio.create_task(database.write(tailnet, ADMIN, slow))
    await is_in.wait()
    return go, task


async def node_ids(database: Database, tailnet: TailnetId) -> list[int]:
    async with database.read(tailnet) as tx:
        return [row["id"] for row in await tx.fetch("select id from nodes order by id")]


async def test_those_who_wait_run_once_while_nobody_is_refused(database_dsn: str) -> None:
    runs: list[int] = []

    def counted(number: int) -> Verb:
        async def verb(tx: TailnetTx) -> Version:
            runs.append(number)
            return await put(number)(tx)

        return verb

    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "agreed")
        go, slow = await behind_a_slow_one(database, tailnet)
        writes = [asyncio.create_task(database.write(tailnet, ADMIN, counted(n))) for n in range(1, 6)]
        await until(lambda: database.waiting == len(writes))
        go.set()
        await asyncio.gather(slow, *writes)
        assert runs == [1, 2, 3, 4, 5]
        assert await node_ids(database, tailnet) == runs


async def test_a_verb_that_runs_again_takes_its_share_of_the_audit_log_once(database_dsn: str) -> None:
    asked: list[int] = []

    def share() -> int:
        asked.append(1)
        return len(asked) - 1

    async def noted(tx: TailnetTx) -> None:
        tx.audit("node.note", "1", {}, share)

    async def refused(tx: TailnetTx) -> None:
        raise Refused("no")

    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "noted")
        go, slow = await behind_a_slow_one(database, tailnet)
        writes = [asyncio.create_task(database.write(tailnet, ADMIN, verb)) for verb in (noted, refused)]
        await until(lambda: database.waiting == len(writes))
        go.set()
        done, refusal = await asyncio.gather(*writes, return_exceptions=True)
        await slow
        assert (done, type(refusal), asked) == (None, Refused, [1])


async def test_those_who_wait_share_a_version_and_only_the_refused_lose(database_dsn: str) -> None:
    heard: list[Version] = []
    async with process(database_dsn) as database:
        database.on_commit = lambda tailnet, version: heard.append(version)
        tailnet = await new_tailnet(database, "shared")

        async def refused(tx: TailnetTx) -> None:
            await put_node(tx, a_node(50))
            tx.audit("node.put", "50")
            raise Refused("no")

        go, slow = await behind_a_slow_one(database, tailnet)
        good = [asyncio.create_task(database.write(tailnet, ADMIN, put(number))) for number in (1, 2, 3)]
        bad = asyncio.create_task(database.write(tailnet, ADMIN, refused))
        taken = asyncio.create_task(database.write(tailnet, ADMIN, put(4, name="host1")))
        last = asyncio.create_task(database.write(tailnet, ADMIN, put(5)))
        await until(lambda: database.waiting == 6)
        go.set()
        await slow
        assert await asyncio.gather(*good, last) == [1, 1, 1, 1]
        with pytest.raises(Refused):
            await bad
        with pytest.raises(Conflict) as conflict:
            await taken
        assert conflict.value.code == "name_taken"
        assert await node_ids(database, tailnet) == [1, 2, 3, 5]
        async with database.read(tailnet) as tx:
            log = await tx.fetch("select nodes from changes")
            assert [row["nodes"] for row in log] == [[1, 2, 3, 5]]
            assert await tx.fetchval("select count(*) from audit") == 0
    assert heard == [1]


async def test_who_leaves_before_its_turn_is_never_run(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "left")
        go, slow = await behind_a_slow_one(database, tailnet)
        leaver = asyncio.create_task(database.write(tailnet, ADMIN, put(1)))
        stayer = asyncio.create_task(database.write(tailnet, ADMIN, put(2)))
        await until(lambda: database.waiting == 2)
        leaver.cancel()
        go.set()
        await asyncio.gather(slow, stayer)
        assert leaver.cancelled()
        assert await node_ids(database, tailnet) == [2]


async def test_who_leaves_during_its_turn_is_finished(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "late")
        go, slow = await behind_a_slow_one(database, tailnet)
        after = asyncio.create_task(database.write(tailnet, ADMIN, put(1)))
        await until(lambda: database.waiting == 1)
        slow.cancel()
        go.set()
        assert await after == 1


async def test_nothing_touched_makes_no_version_but_is_audited(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "quiet")

        async def verb(tx: TailnetTx) -> str:
            tx.audit("api_key.create", "1", {"name": "x"})
            tx.audit("api_key.create", "2")
            return "done"

        assert await database.write(tailnet, ADMIN, verb) == "done"
        await database.write(tailnet, ADMIN, verb)
        async with database.read(tailnet) as tx:
            assert tx.head.version == 0
            rows = await tx.fetch("select id, actor_kind, actor, origin, target, detail, process from audit")
            assert [row["id"] for row in rows] == [1, 2, 3, 4]
            assert tuple(rows[0])[1:] == ("cli", "tester", "test", "1", '{"name":"x"}', database.process)


async def test_a_hot_tailnet_leaves_connections_to_others(database_dsn: str) -> None:
    async with process(database_dsn, pool_size=2) as database:
        hot, other = await new_tailnet(database, "hot"), await new_tailnet(database, "other")
        go, slow = await behind_a_slow_one(database, hot)
        crowd = [asyncio.create_task(database.write(hot, ADMIN, put(n))) for n in range(1, 100)]
        await database.write(other, ADMIN, put(1))  # one of two connections is held, the other is free
        assert await node_ids(database, other) == [1]
        go.set()
        await asyncio.gather(slow, *crowd)
        async with database.read(hot) as tx:
            assert tx.head.version == 4  # 99 writes, 32 at once


async def test_lanes_vanish_when_idle(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "idle")
        await database.write(tailnet, ADMIN, put(1))
        await asyncio.gather(*(task for _, task in database._lanes.values()))
        assert not database._lanes
        await database.write(tailnet, ADMIN, put(2))


async def test_a_deadlock_is_tried_again(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "deadlock")
        tries: list[int] = []

        async def verb(tx: TailnetTx) -> None:
            tries.append(1)
            await put_node(tx, a_node(len(tries)))
            if len(tries) < 3:
                await tx.execute("do $$ begin raise exception using errcode = '40P01'; end $$")

        await database.write(tailnet, ADMIN, verb)
        assert await node_ids(database, tailnet) == [3]

        async def always(tx: TailnetTx) -> None:
            tries.append(1)
            raise asyncpg.SerializationError("in the way")

        tries.clear()
        with pytest.raises(Unavailable):
            await database.write(tailnet, ADMIN, always)
        assert len(tries) == 5


async def test_the_dead_do_not_write(database_dsn: str) -> None:
    told: list[bool] = []
    async with process(database_dsn) as zombie, process(database_dsn) as judge:
        zombie.on_fenced = lambda: told.append(True)
        tailnet = await new_tailnet(judge, "fenced")
        await zombie.write(tailnet, ADMIN, put(1))
        async with judge.directory() as tx:
            await directory.sign_off(tx, zombie.process)
        with pytest.raises(Fenced):
            await zombie.write(tailnet, ADMIN, put(2))
        with pytest.raises(Fenced):
            async with zombie.unversioned(tailnet):
                pass
        assert told == [True, True]
        assert await node_ids(zombie, tailnet) == [1]  # reading harms nobody


async def test_a_process_that_dies_during_its_write_does_not_commit(database_dsn: str) -> None:
    async with process(database_dsn) as zombie, process(database_dsn) as judge:
        tailnet = await new_tailnet(judge, "dying")

        async def verb(tx: TailnetTx) -> None:
            await put_node(tx, a_node(1))
            async with judge.directory() as others:
                await directory.sign_off(others, zombie.process)

        with pytest.raises(Fenced):
            await zombie.write(tailnet, ADMIN, verb)
        assert await node_ids(judge, tailnet) == []


async def test_no_such_tailnet(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        with pytest.raises(NotFound):
            await database.write(TailnetId(404), ADMIN, put(1))
        with pytest.raises(NotFound):
            async with database.read(TailnetId(404)):
                pass


def kill_others(dsn: str) -> None:
    """What an administrator's shutdown or a failover does to every connection."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )


async def test_lost_connections_are_replaced(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "lost")
        await database.write(tailnet, ADMIN, put(1))
        kill_others(database_dsn)
        await database.write(tailnet, ADMIN, put(2))  # nothing was begun, so nobody has to know
        assert await node_ids(database, tailnet) == [1, 2]


async def test_a_connection_lost_in_the_middle_is_said_and_nothing_is_kept(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "broken")

        async def verb(tx: TailnetTx) -> None:
            await put_node(tx, a_node(1))
            kill_others(database_dsn)
            await put_node(tx, a_node(2))

        with pytest.raises(Unavailable):
            await database.write(tailnet, ADMIN, verb)
        assert await node_ids(database, tailnet) == []


async def test_a_connection_lost_at_the_commit_is_an_unknown_outcome(database_dsn: str) -> None:
    with psycopg.connect(database_dsn, autocommit=True) as admin:
        admin.execute(
            "create function kill_me() returns trigger language plpgsql security definer as"
            " $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;"
            "create constraint trigger at_commit after insert on nodes deferrable initially deferred"
            " for each row execute function kill_me()"
        )
    runs: list[int] = []
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "unknown")

        async def verb(tx: TailnetTx) -> None:
            runs.append(1)
            await put_node(tx, a_node(1))

        with pytest.raises(OutcomeUnknown):
            await database.write(tailnet, ADMIN, verb)
        assert runs == [1]


async def test_waiting_for_a_lock_ends(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pool.TIMEOUTS, "lock_timeout", "50ms")
    async with process(database_dsn) as one, process(database_dsn) as two:
        tailnet = await new_tailnet(one, "locked")
        go, slow = await behind_a_slow_one(one, tailnet)
        with pytest.raises(Unavailable) as busy:
            await two.write(tailnet, ADMIN, put(1))
        assert busy.value.code == "database_busy"
        go.set()
        await slow


async def test_a_verb_that_swallows_an_error_is_found_out(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "swallow")

        async def careless(tx: TailnetTx) -> None:
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                await tx.execute("select 1/0")

        with pytest.raises(RuntimeError):
            await database.write(tailnet, ADMIN, careless)

        async def careful(tx: TailnetTx) -> None:
            try:
                async with tx.savepoint():
                    await tx.execute("select 1/0")
            except asyncpg.DivisionByZeroError:
                await put_node(tx, a_node(1))

        await database.write(tailnet, ADMIN, careful)


async def test_closing_waits_for_writes_and_takes_no_more(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "closing")
        go, slow = await behind_a_slow_one(database, tailnet)
        closing = asyncio.create_task(database.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await database.write(tailnet, ADMIN, put(1))
        go.set()
        await asyncio.gather(slow, closing)


async def test_behind_a_pooler_nothing_is_prepared_and_all_works(database_dsn: str) -> None:
    async with process(database_dsn, pooler=True) as database:
        tailnet = await new_tailnet(database, "pooled")
        await asyncio.gather(*(database.write(tailnet, ADMIN, put(number)) for number in range(1, 9)))
        async with database.read(tailnet) as tx:
            assert await tx.fetchval("select count(*) from pg_prepared_statements") == 0
            assert await tx.fetchval("select current_setting('lock_timeout')") == "2s"
            name = await tx.fetchval("select current_setting('application_name')")
        assert name == f"headscale-saas/{database.process}"


async def test_a_move_takes_every_row_along_and_is_a_version(database_dsn: str) -> None:
    async with process(database_dsn) as database, process(database_dsn, OTHER_CLUSTER):
        tailnet = await new_tailnet(database, "moving")
        await database.write(tailnet, ADMIN, put(1))
        async with database.directory() as tx:
            head = await directory.move_tailnet(tx, tailnet, OTHER_CLUSTER)
        assert (head.cluster_id, head.version) == (OTHER_CLUSTER, 2)
        async with database.read(tailnet) as tx:
            for table in directory.STATE_TABLES:
                rows = await tx.fetch(f"select cluster_id from {table}")
                assert {row["cluster_id"] for row in rows} <= {OTHER_CLUSTER}, table
            log = await tx.fetch("select cluster_id from changes order by version")
            assert [row["cluster_id"] for row in log] == [1, 2]
        await database.write(tailnet, ADMIN, put(2))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.unversioned(tailnet) as tx:
                await tx.execute("update nodes set cluster_id = 1")


async def test_a_tailnet_goes_with_everything_in_it(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "going")
        await database.write(tailnet, ADMIN, put(1))
        async with database.directory() as tx:
            assert await directory.delete_tailnet(tx, tailnet)
            assert not await directory.delete_tailnet(tx, tailnet)
            assert await tx.fetchval("select count(*) from nodes where tailnet_id = $1", tailnet) == 0
