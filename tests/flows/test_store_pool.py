"""How many connections there are, and for how long."""

from contextlib import AsyncExitStack

import asyncpg
from tests.waiting import until

from headscale_saas.store.database import Database

NAME = "pool-test"


async def backends(dsn: str) -> int:
    """Connections of the database under test."""
    connection = await asyncpg.connect(dsn)
    try:
        sql = (
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and application_name like $1 || '/%'"
        )
        return int(await connection.fetchval(sql, NAME))
    finally:
        await connection.close()


async def use(database: Database, at_once: int) -> None:
    """Opens so many transactions at the same time."""
    async with AsyncExitStack() as stack:
        for _ in range(at_once):
            await stack.enter_async_context(database.directory())


async def test_connections_that_nobody_uses_are_closed(database_dsn: str) -> None:
    database = await Database.open(database_dsn, name=NAME, pool_size=5, idle_seconds=0.05)
    await use(database, 5)
    assert await backends(database_dsn) == 5

    async def one_is_left() -> bool:
        await use(database, 1)
        return await backends(database_dsn) == 1

    await until(one_is_left)
    await database.close()

    async def none_is_left() -> bool:
        return await backends(database_dsn) == 0

    await until(none_is_left)


async def test_they_are_kept_if_that_is_wanted(database_dsn: str) -> None:
    database = await Database.open(database_dsn, name=NAME, pool_size=5)
    await use(database, 5)
    await use(database, 1)
    assert await backends(database_dsn) == 5
    await database.close()
