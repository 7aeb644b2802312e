"""A young table grows faster than PostgreSQL looks at it; nobody shall read a tailnet to find a node."""

import psycopg
from tests.waiting import until

from headscale_saas.actions import upkeep
from headscale_saas.actions.presence import GRACE
from headscale_saas.actions.upkeep import ADDRESS_REST
from headscale_saas.store import directory, due
from headscale_saas.store.transactions import TailnetTx
from store_world import ADMIN, a_node, new_tailnet, process, put_node

NODES = 200


async def plan(tx: TailnetTx) -> str:
    rows = await tx.fetch("explain select name from nodes where tailnet_id = $1 and id = $2", tx.tailnet, 17)
    return "\n".join(row[0] for row in rows)


async def fill(tx: TailnetTx) -> None:
    for number in range(1, NODES + 1):
        await put_node(tx, a_node(number))


async def test_a_node_is_found_by_its_key_as_soon_as_the_table_has_grown(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "grown")
        await database.write(tailnet, ADMIN, fill)
        plans = []

        async def is_by_key() -> bool:
            await upkeep.run_once(database, sweep=False)
            async with database.read(tailnet) as tx:
                plans.append(await plan(tx))
            return "using nodes_pkey" in plans[-1]

        await until(is_by_key, within=20, told=lambda: plans[-1])


async def test_upkeep_goes_on_while_a_table_cannot_be_looked_at(database_dsn: str) -> None:
    """As while an index is built: the dead are declared dead all the same."""
    async with process(database_dsn) as database, process(database_dsn) as silent:
        tailnet = await new_tailnet(database, "locked")
        await database.write(tailnet, ADMIN, fill)
        with psycopg.connect(database_dsn) as connection:
            connection.execute("lock table nodes in share update exclusive mode")

            async def is_grown() -> bool:
                async with database.directory() as tx:
                    return (await due.read(tx, None, GRACE, ADDRESS_REST)).grown

            await until(is_grown, within=20)
            async with database.directory() as tx:
                late = "update processes set heartbeat_at = now() - interval '1 hour' where number = $1"
                await tx.execute(late, silent.process)
            assert await upkeep.run_once(database, sweep=False)
            async with database.directory() as tx:
                processes = await directory.list_processes(tx)
        assert [it.number for it in processes if it.dead_at] == [silent.process]


async def test_who_may_analyse_may_nothing_else(database_dsn: str) -> None:
    """What a session makes for itself comes last, so the owner's function finds the catalog's tables."""
    async with process(database_dsn) as database, database.directory() as tx:
        await tx.execute(
            "create function pg_temp.evil() returns oid language plpgsql as"
            " $$ begin alter table nodes disable row level security; return 1; end $$"
        )
        await tx.execute(
            "create view pg_temp.pg_class as select pg_temp.evil() as oid, relnamespace,"
            " 'r'::\"char\" as relkind, 0::real as reltuples from pg_catalog.pg_class where relname = 'nodes'"
        )
        await tx.execute("grant select on pg_temp.pg_class to public")
        await due.analyze(tx)
        sql = "select relrowsecurity from pg_catalog.pg_class where oid = 'nodes'::regclass"
        assert await tx.fetchval(sql)
