"""The second wall: inside a transaction for X, statements without any filter touch rows of X only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import psycopg
import pytest
from test_store_schema import RESERVATIONS, tailnet_tables

from headscale_saas.errors import Conflict, Refused
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailnet.model import NodeId, TailnetId
from store_world import ADMIN, a_node, key_bytes, new_tailnet, process, put_node, put_user
from store_world import a_user as user

SAMPLES = {
    "tailnet_settings": "(tailnet_id, cluster_id, settings) values ($1, 1, '{}')",
    "users": "(tailnet_id, cluster_id, id, name, created_at) values ($1, 1, 9, 'ann', now())",
    "auth_keys": "(tailnet_id, cluster_id, id, prefix, secret_hash, tags, created_at)"
    " values ($1, 1, 9, 'p', '', '{tag:a}', now())",
    "api_keys": "(tailnet_id, cluster_id, id, prefix, secret_hash, created_at)"
    " values ($1, 1, 9, 'p', '', now())",
    "nodes": "(tailnet_id, cluster_id, id, stable_id, machine_key, node_key, disco_key, tailnet_lock_key,"
    " tags, hostname, name, created_at, register_method, hostinfo)"
    " values ($1, 1, 9, 's', sha256('m'), sha256('n'), sha256('d'), sha256('l'),"
    " '{tag:a}', 'h', 'h', now(), 'cli', '{}')",
    "freed_addresses": "(tailnet_id, cluster_id, address, freed_at) values ($1, 1, '100.64.0.9', now())",
    "sessions": "(tailnet_id, cluster_id, node_id, token, process, started_at)"
    " values ($1, 1, 9, 1, 1, now())",
    "policy_versions": "(tailnet_id, cluster_id, number, text, size, etag, actor_kind, actor, origin, at)"
    " values ($1, 1, 9, '', 0, encode(sha256(''), 'hex'), '', '', '', now())",
    "changes": "(tailnet_id, cluster_id, version, process, at) values ($1, 1, 9, 1, now())",
    "audit": "(tailnet_id, cluster_id, id, process, at, actor_kind, actor, origin, action, target)"
    " values ($1, 1, 9, 1, now(), '', '', '', '', '')",
    "auth_key_prefixes": "(tailnet_id, prefix) values ($1, 'p' || $1::bigint)",
    "api_key_prefixes": "(tailnet_id, prefix) values ($1, 'p' || $1::bigint)",
    "node_keys": "(tailnet_id, node_id, node_key, machine_key)"
    " values ($1, 9, sha256(($1::bigint)::text::bytea), sha256('m'))",
    "machine_keys": "(tailnet_id, node_id, machine_key) values ($1, 9, sha256('m'))",
}
"""One row for each table with a tailnet's rows, in an order that foreign keys allow."""


class World:
    """Two tailnets with one row in every table each."""

    def __init__(self, database: Database, dsn: str, ours: TailnetId, theirs: TailnetId) -> None:
        self.database = database
        self.dsn = dsn
        self.ours = ours
        self.theirs = theirs

    def tables(self) -> list[str]:
        with psycopg.connect(self.dsn, row_factory=psycopg.rows.dict_row) as catalogue:
            found = tailnet_tables(catalogue) | RESERVATIONS
        assert found == set(SAMPLES), "give SAMPLES a row for the new table"
        return list(SAMPLES)

    def rows(self, table: str, tailnet: TailnetId) -> list[tuple[object, ...]]:
        """What a superuser sees, whom no wall stops."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(
                f"select * from {table} where tailnet_id = %s",  # type: ignore[arg-type]
                [tailnet],
            ).fetchall()


@asynccontextmanager
async def two_tailnets(dsn: str) -> AsyncIterator[World]:
    # One connection, so that each transaction follows one for the other tailnet on it.
    async with process(dsn, pool_size=1) as database:
        ours, theirs = await new_tailnet(database, "ours"), await new_tailnet(database, "theirs")
        for tailnet in (theirs, ours):
            await database.write(tailnet, ADMIN, fill)
        async with database.unversioned(theirs) as tx:
            assert await tx.fetchval("select count(*) from nodes") == 1
        yield World(database, dsn, ours, theirs)


async def fill(tx: TailnetTx) -> None:
    for table, sample in SAMPLES.items():
        if table != "tailnet_settings":
            await tx.execute(f"insert into {table} {sample}", tx.tailnet)


async def test_reading_everything_reads_ours(database_dsn: str) -> None:
    async with two_tailnets(database_dsn) as world:
        for table in world.tables():
            async with world.database.read(world.ours) as tx:
                rows = await tx.fetch(f"select tailnet_id from {table}")
            assert {row["tailnet_id"] for row in rows} == {world.ours}, table
        async with world.database.read(world.ours) as tx:
            assert [row["id"] for row in await tx.fetch("select id from tailnets")] == [world.ours]


async def test_changing_and_deleting_everything_leaves_theirs(database_dsn: str) -> None:
    async with two_tailnets(database_dsn) as world:
        for table in reversed(world.tables()):
            before = world.rows(table, world.theirs)
            for statement in (f"update {table} set {some_column(table)}", f"delete from {table}"):
                try:
                    async with world.database.unversioned(world.ours) as tx:
                        await tx.execute(statement)
                except (asyncpg.InsufficientPrivilegeError, Conflict):
                    pass  # not even ours: append-only, or still needed
            assert world.rows(table, world.theirs) == before, table
        assert world.rows("nodes", world.ours) == []


def some_column(table: str) -> str:
    same = {
        "users": "name = name",
        "nodes": "name = name",
        "tailnet_settings": "policy = 'x'",
        "freed_addresses": "freed_at = now()",
        "sessions": "token = 77",
        "auth_keys": "reusable = true",
        "api_keys": "prefix = prefix",
    }
    return same.get(table, "tailnet_id = tailnet_id")


async def test_a_row_cannot_be_put_into_another_tailnet(database_dsn: str) -> None:
    async with two_tailnets(database_dsn) as world:
        for table in world.tables():
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                async with world.database.unversioned(world.ours) as tx:
                    await tx.execute(f"insert into {table} {SAMPLES[table]}", world.theirs)


async def test_without_a_tailnet_there_are_no_rows(database_dsn: str) -> None:
    async with two_tailnets(database_dsn) as world:
        for begin in ("begin; set local role hs_app", "begin; set local role hs_feed"):
            async with world.database._pool.transaction(begin) as connection:
                readable = await connection.fetch(
                    "select relname from pg_class where relname = any($1)"
                    " and has_table_privilege(oid, 'select')",
                    [*world.tables(), "tailnets"],
                )
                assert readable
                for row in readable:
                    assert await connection.fetch(f"select * from {row['relname']}") == [], row["relname"]


async def test_the_feed_sees_the_tailnets_it_was_opened_for(database_dsn: str) -> None:
    async with two_tailnets(database_dsn) as world:
        for wanted in ([world.ours], [world.ours, world.theirs], []):
            async with world.database.feed(wanted) as feed:
                for table in ("nodes", "users", "changes", "tailnet_settings"):
                    rows = await feed.fetch(f"select tailnet_id from {table}")
                    assert {row["tailnet_id"] for row in rows} == set(wanted)
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with feed.savepoint():
                        await feed.fetch("select * from auth_keys")


async def test_the_directory_sees_no_content(database_dsn: str) -> None:
    async with two_tailnets(database_dsn) as world:
        for query in (
            "hostinfo from nodes",
            "name from users",
            "policy from tailnet_settings",
            "* from audit",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with world.database.directory() as tx:
                    await tx.fetch(f"select {query}")


async def test_a_foreign_collision_says_nothing_but_conflict(database_dsn: str) -> None:
    machine, key = MachineKey(key_bytes("m")), NodeKey(key_bytes("k"))
    async with two_tailnets(database_dsn) as world:

        async def reserve(tx: TailnetTx) -> None:
            await directory.reserve_node_key(tx, key, machine, NodeId(9))

        await world.database.write(world.theirs, ADMIN, reserve)
        await world.database.write(world.theirs, ADMIN, reserve)  # again is harmless
        with pytest.raises(Conflict) as refused:
            await world.database.write(world.ours, ADMIN, reserve)
        assert "theirs" not in str(refused.value)
        assert refused.value.__cause__ is None
        async with world.database.directory() as tx:
            found = await directory.node_of_key(tx, key)
            assert found
            assert found.tailnet == world.theirs


async def test_foreign_keys_cannot_reach_another_tailnet(database_dsn: str) -> None:
    async with two_tailnets(database_dsn) as world:

        async def own(tx: TailnetTx) -> None:
            await put_node(tx, a_node(30, user_id=77, tags=()))

        async def make_user(tx: TailnetTx) -> None:
            await put_user(tx, user(77))

        await world.database.write(world.theirs, ADMIN, make_user)
        with pytest.raises(Conflict):
            await world.database.write(world.ours, ADMIN, own)


async def test_the_start_refuses_a_wall_with_a_hole(database_dsn: str) -> None:
    with psycopg.connect(database_dsn, autocommit=True) as admin:
        admin.execute("alter table nodes disable row level security")
    with pytest.raises(Refused, match="row-level security"):
        await Database.open(database_dsn)
