"""Catching up from any version gives the very state that loading gives; versions have no gaps."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headscale_saas.errors import Refused, Unavailable
from headscale_saas.store import changelog
from headscale_saas.store.database import Database
from headscale_saas.store.tailnets import settings_to_text
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import NodeId, Settings, TailnetId, UserId, Version
from headscale_saas.tailnet.state import TailnetState
from store_world import ADMIN, a_node, a_user, new_tailnet, process, put_node, put_user

Operation = Callable[[TailnetTx], Awaitable[None]]
names = count(1)


def set_node(number: int, flavour: int) -> Operation:
    return lambda tx: put_node(tx, a_node(number, home_derp=flavour, online=bool(flavour % 2)))


def set_user(number: int, flavour: int) -> Operation:
    return lambda tx: put_user(tx, a_user(number, display_name=f"flavour {flavour}"))


def delete_node(number: int) -> Operation:
    async def run(tx: TailnetTx) -> None:
        await tx.execute("delete from nodes where tailnet_id = $1 and id = $2", tx.tailnet, number)
        tx.touch(nodes=[NodeId(number)])

    return run


def delete_user(number: int) -> Operation:
    async def run(tx: TailnetTx) -> None:
        await tx.execute("delete from users where tailnet_id = $1 and id = $2", tx.tailnet, number)
        tx.touch(users=[UserId(number)])

    return run


def set_settings(flavour: int) -> Operation:
    async def run(tx: TailnetTx) -> None:
        text = settings_to_text(Settings(display_name=f"flavour {flavour}"))
        await tx.execute("update tailnet_settings set settings = $2 where tailnet_id = $1", tx.tailnet, text)
        tx.touch(settings=True)

    return run


def set_policy(flavour: int) -> Operation:
    async def run(tx: TailnetTx) -> None:
        text = f'{{"flavour": {flavour}}}' if flavour else None
        await tx.execute("update tailnet_settings set policy = $2 where tailnet_id = $1", tx.tailnet, text)
        tx.touch(policy=True)

    return run


ids = st.integers(1, 6)
flavours = st.integers(0, 3)
operations = st.one_of(
    st.builds(set_node, ids, flavours),
    st.builds(set_user, ids, flavours),
    st.builds(delete_node, ids),
    st.builds(delete_user, ids),
    st.builds(set_settings, flavours),
    st.builds(set_policy, flavours),
)
writes = st.lists(operations, min_size=1, max_size=4)
steps = st.one_of(writes, st.just("look"), st.just("trim"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, max_size=25), worth_it=st.sampled_from([0, 3, 64]))
def test_catching_up_equals_loading(database_dsn: str, history: list[object], worth_it: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changelog, "WORTH_IT", worth_it)
        uvloop.run(live_through(database_dsn, history))


async def live_through(dsn: str, history: list[object]) -> None:
    async with process(dsn, pool_size=2) as database:
        tailnet = await new_tailnet(database, f"history-{next(names)}")
        state = await load(database, tailnet)
        for step in history:
            if step == "trim":
                async with database.directory() as tx:
                    await changelog.trim(tx, timedelta(0))
            elif step == "look":
                state = await look(database, state)
            else:
                assert isinstance(step, list)
                await database.write(tailnet, ADMIN, all_of(step))
        await look(database, state)


def all_of(parts: list[Operation]) -> Operation:
    async def run(tx: TailnetTx) -> None:
        for part in parts:
            await part(tx)

    return run


async def load(database: Database, tailnet: TailnetId) -> TailnetState:
    async with database.feed([tailnet]) as tx:
        return await changelog.load(tx, tailnet)


async def look(database: Database, before: TailnetState) -> TailnetState:
    """Catches up and compares: with a load, and what is said to be touched with what differs."""
    tailnet = before.tailnet.id
    async with database.feed([tailnet]) as tx:
        moved = await changelog.catch_up(tx, before)
        loaded = await changelog.load(tx, tailnet)
    assert (moved is None) == (loaded.version == before.version)
    after = moved.state if moved else before
    assert contents(after) == contents(loaded)
    assert list(after.nodes) == sorted(after.nodes)
    differs = changelog.difference(before, after)
    if moved:
        assert differs.nodes <= moved.touched.nodes
        assert differs.users <= moved.touched.users
        assert differs.settings <= moved.touched.settings
        assert differs.policy <= moved.touched.policy
    assert all(after.nodes[id_] is row for id_, row in before.nodes.items() if after.nodes.get(id_) == row)
    return after


def contents(state: TailnetState) -> object:
    return state.tailnet, state.nodes, state.users, state.policy_text


PROCESSES = 3
TAILNETS = 3
WRITES = 240


async def test_versions_have_no_gaps_whoever_writes(database_dsn: str) -> None:
    chance = random.Random(7)
    heard: list[tuple[TailnetId, Version]] = []
    async with (
        process(database_dsn, pool_size=2) as one,
        process(database_dsn, pool_size=2) as two,
        process(database_dsn, pool_size=2) as three,
    ):
        databases = [one, two, three]
        for database in databases:
            database.on_commit = lambda tailnet, version: heard.append((tailnet, version))
        tailnets = [await new_tailnet(one, f"t{number}") for number in range(TAILNETS)]

        async def write(number: int) -> bool:
            async def verb(tx: TailnetTx) -> None:
                await put_node(tx, a_node(number % 20 + 1, home_derp=number))
                tx.audit("test.put", str(number))
                if number % 7 == 0:
                    raise Refused("not this one")

            database, tailnet = chance.choice(databases), chance.choice(tailnets)
            try:
                await database.write(tailnet, ADMIN, verb)
            except Refused:
                return False
            return True

        done = await asyncio.gather(*(write(number) for number in range(WRITES)))
        audits = 0
        for tailnet in tailnets:
            async with one.read(tailnet) as tx:
                log = await tx.fetch("select version from changes order by version")
                audits += await tx.fetchval("select count(*) from audit")
                versions = [row["version"] for row in log]
                assert versions == list(range(1, tx.head.version + 1))
                assert sorted(version for id_, version in heard if id_ == tailnet) == versions
        assert sum(done) == audits == WRITES - WRITES // 7 - 1


async def test_a_gone_tailnet_is_an_answer_and_no_concern_of_others(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        stays, goes = await new_tailnet(database, "stays"), await new_tailnet(database, "goes")
        states = {tailnet: await load(database, tailnet) for tailnet in (stays, goes)}
        await database.write(stays, ADMIN, set_node(1, 0))
        async with database.directory() as tx:
            await tx.execute("delete from tailnets where id = $1", goes)
        async with database.feed(states) as feed:
            moved = await changelog.catch_up_many(feed, states)
    assert isinstance(moved[stays], changelog.Moved)
    assert isinstance(moved[goes], Exception)
    assert not isinstance(moved[goes], Unavailable)
