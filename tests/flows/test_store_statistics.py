"""A young table grows faster than PostgreSQL looks at it; nobody shall read a tailnet to find a node."""

from tests.waiting import until

from headscale_saas.actions import upkeep
from headscale_saas.store.transactions import TailnetTx
from store_world import ADMIN, a_node, new_tailnet, process, put_node

NODES = 200


async def plan(tx: TailnetTx) -> str:
    rows = await tx.fetch("explain select name from nodes where tailnet_id = $1 and id = $2", tx.tailnet, 17)
    return "\n".join(row[0] for row in rows)


async def test_a_node_is_found_by_its_key_as_soon_as_the_table_has_grown(database_dsn: str) -> None:
    async def fill(tx: TailnetTx) -> None:
        for number in range(1, NODES + 1):
            await put_node(tx, a_node(number))

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
