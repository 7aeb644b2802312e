"""Making the schema: once, by whoever may, and never over a newer one."""

import concurrent.futures
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from headscale_saas.errors import Refused
from headscale_saas.store import migrate
from headscale_saas.store.database import Database
from headscale_saas.store.migrate import MIGRATIONS, SCHEMA_VERSION
from store_world import ADMIN, a_node, new_tailnet, process, put_node

numbers = itertools.count(1)


@pytest.fixture
def user(postgres_dsn: str) -> Iterator[str]:
    """An ordinary user of the server; gone after the test, with what it was granted."""
    name = f"test_user_{os.getpid()}_{next(numbers)}"
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(f"create role {name} login")
        yield name
        admin.execute(f"drop owned by {name}")
        admin.execute(f"drop role {name}")


def as_user(dsn: str, user: str) -> str:
    return re.sub(r"//[^@]*@", f"//{user}@", dsn)


def test_again_is_harmless(empty_database_dsn: str) -> None:
    migrate(empty_database_dsn)
    migrate(empty_database_dsn)
    with psycopg.connect(empty_database_dsn) as connection:
        assert connection.execute("select version from schema_version").fetchone() == (SCHEMA_VERSION,)


def test_many_at_once_do_it_once(empty_database_dsn: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, [empty_database_dsn] * 4))


def test_the_number_is_that_of_the_newest_step(database_dsn: str) -> None:
    steps = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert int(steps[-1]) == SCHEMA_VERSION
    with psycopg.connect(database_dsn) as connection:
        assert connection.execute("select version_num from alembic_version").fetchone() == (steps[-1],)


async def test_a_schema_without_room_for_us_is_refused_by_both_names(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as connection:
        connection.execute("update schema_version set version = 90, compat_version = 80")
    said = rf"schema 90.* schema 80 .* schema {SCHEMA_VERSION}"
    with pytest.raises(Refused, match=said):
        migrate(database_dsn)
    with pytest.raises(Refused, match=said):
        await Database.open(database_dsn)


async def test_a_newer_schema_that_still_has_room_is_used(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as connection:
        connection.execute("update schema_version set version = 90")
    migrate(database_dsn)
    database = await Database.open(database_dsn)
    await database.close()


async def test_without_a_schema_the_start_says_what_to_do(empty_database_dsn: str) -> None:
    with pytest.raises(Refused, match="migrate first"):
        await Database.open(empty_database_dsn)


async def test_an_ordinary_user_that_was_granted_the_roles_is_enough(
    postgres_dsn: str, empty_database_dsn: str, template: str, user: str
) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(f"grant hs_owner, hs_app, hs_feed, hs_directory to {user}")
    with psycopg.connect(empty_database_dsn, autocommit=True) as admin:
        admin.execute("grant create on schema public to hs_owner")
    dsn = as_user(empty_database_dsn, user)
    migrate(dsn)
    async with process(dsn) as database:
        tailnet = await new_tailnet(database, "ordinary")
        await database.write(tailnet, ADMIN, lambda tx: put_node(tx, a_node(1)))
        async with database.feed([tailnet]) as feed:
            assert len(await feed.fetch("select * from nodes")) == 1


async def test_a_user_without_rights_is_told_the_statements(
    empty_database_dsn: str, database_dsn: str, user: str
) -> None:
    with pytest.raises(Refused) as refused:
        migrate(as_user(empty_database_dsn, user))
    assert f"grant hs_owner, hs_app, hs_feed, hs_directory to {user};" in str(refused.value)
    with pytest.raises(Refused, match="grant hs_app, hs_feed, hs_directory"):
        await Database.open(as_user(database_dsn, user))


def test_steps_are_package_data() -> None:
    assert (Path(MIGRATIONS) / "versions" / "0001_foundation.sql").is_file()
