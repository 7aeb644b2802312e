"""What the directory says of the keys in registrations: the same, whether one asks or many do at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.store_world import ADMIN, a_node, key_bytes, new_tailnet, process, put_node

from headscale_saas.errors import Unavailable
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.store.newcomers import MOST_AT_ONCE, Newcomers, Whereabouts
from headscale_saas.store.transactions import DirectoryTx, TailnetTx
from headscale_saas.tailcfg.keys import NodeKey
from headscale_saas.tailnet.model import TailnetId

NOBODY = Whereabouts(auth_tailnet=None, held=None, held_before=None)


class House:
    """A directory that counts its visits, and keeps them waiting while its door is closed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.visits = 0
        self.door = asyncio.Event()
        self.door.set()
        self.problem: Exception | None = None
        self.newcomers = Newcomers(self.directory)

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[DirectoryTx]:
        self.visits += 1
        await self.door.wait()
        if self.problem is not None:
            raise self.problem
        async with self.database.directory() as tx:
            yield tx

    async def ask(self, number: int, prefix: str | None = None, origin: str = "192.0.2.1") -> Whereabouts:
        """Of node `number`, whose key before it was that of node `number + 1000`."""
        return await self.newcomers.whereabouts(origin, key(number), key(number + 1000), prefix)


def key(number: int) -> NodeKey:
    return NodeKey(key_bytes("node", number))


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[House]:
    async with process(dsn) as database:
        yield House(database)


async def settled(house: House, name: str, first: int) -> TailnetId:
    """A tailnet with two nodes and an auth key of its name; the second node was deleted."""
    tailnet = await new_tailnet(house.database, name)

    async def settle(tx: TailnetTx) -> None:
        for number in (first, first + 1):
            node = a_node(number)
            await put_node(tx, node)
            await directory.reserve_node_key(tx, node.node_key, node.machine_key, node.id)
        await tx.execute("update node_keys set freed_at = now() where node_key = $1", key(first + 1))
        await directory.reserve_auth_key(tx, name)

    await house.database.write(tailnet, ADMIN, settle)
    return tailnet


async def test_who_asks_with_many_is_answered_as_alone(database_dsn: str) -> None:
    async with opened(database_dsn) as house:
        tailnets = {name: await settled(house, name, first) for name, first in (("acme", 10), ("blue", 20))}
        questions = [
            (number, prefix) for number in (10, 11, 20, 21, 30) for prefix in (*tailnets, "none", None)
        ]
        alone = [await house.ask(*question) for question in questions]
        house.visits = 0
        together = await asyncio.gather(*(house.ask(*question) for question in questions))
        assert together == alone
        assert house.visits == 1, "all at once"
        for (number, prefix), answer in zip(questions, alone, strict=True):
            assert answer.auth_tailnet == tailnets.get(prefix or "")
            assert answer.is_resting == (number in (11, 21))
            assert (answer.held is not None) == (number != 30)
            if answer.held is not None:
                assert answer.held.node_key == key(number)
                assert answer.held.tailnet == tailnets["acme" if number < 20 else "blue"]
            assert answer.held_before is None


async def test_the_key_before_is_told_apart_from_the_key(database_dsn: str) -> None:
    async with opened(database_dsn) as house:
        await settled(house, "acme", 1010)
        answer = await house.ask(10)
        assert answer.held is None
        assert answer.held_before is not None
        assert answer.held_before.node_key == key(1010)
        assert not (await house.ask(11)).is_resting, "that is said of the key alone"


async def test_a_flood_of_questions_waits_behind_itself(database_dsn: str) -> None:
    async with opened(database_dsn) as house:
        house.door.clear()
        answered: list[str] = []

        async def ask(origin: str, number: int) -> None:
            await house.ask(number, origin=origin)
            answered.append(origin)

        async with asyncio.TaskGroup() as group:
            for number in range(10 * MOST_AT_ONCE):
                group.create_task(ask("2001:db8::1", number))
            await asyncio.sleep(0)
            group.create_task(ask("192.0.2.7", 1))
            await asyncio.sleep(0)
            house.door.set()
        assert answered.index("192.0.2.7") < 3 * MOST_AT_ONCE
        assert house.visits <= 12


async def test_who_left_costs_nothing_and_takes_nothing_from_others(database_dsn: str) -> None:
    async with opened(database_dsn) as house:
        house.door.clear()
        first = asyncio.create_task(house.ask(1))
        await asyncio.sleep(0)
        leaving = [asyncio.create_task(house.ask(number)) for number in range(2, 100)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
        last = asyncio.create_task(house.ask(100))
        house.door.set()
        assert await first == await last == NOBODY
        assert house.visits == 2


async def test_a_failure_is_told_to_each_and_ends_with_them(database_dsn: str) -> None:
    async with opened(database_dsn) as house:
        house.problem = Unavailable("the database is away")
        told = await asyncio.gather(*(house.ask(number) for number in range(3)), return_exceptions=True)
        assert [str(problem) for problem in told] == ["the database is away"] * 3
        assert len({id(problem) for problem in told}) == 3, "one object in many tasks gathers tracebacks"
        house.problem = None
        assert await house.ask(1) == NOBODY


async def test_at_the_end_those_who_wait_are_told(database_dsn: str) -> None:
    async with opened(database_dsn) as house:
        house.door.clear()
        tasks = [asyncio.create_task(house.ask(number)) for number in range(2 * MOST_AT_ONCE)]
        await asyncio.sleep(0)
        await house.newcomers.close()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert {str(problem) for problem in told} == {"the server stops"}
