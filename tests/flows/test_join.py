"""Nodes join through different workers, see each other, change, leave and come back."""

import asyncio

from tests.service import TESTER, service

from headscale_saas.actions import nodes


async def test_nodes_on_two_workers_see_each_other(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as alice, house.client(acme, 1) as bob:
            await alice.join(acme.key)
            await bob.join(acme.key)
            await alice.netmap_where(lambda n: any(p.online for p in n.peers.values()))
            await bob.netmap_where(lambda n: any(p.online for p in n.peers.values()))


async def test_two_tailnets_with_the_same_addresses_know_nothing_of_each_other(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme, evil = await house.tailnet("acme"), await house.tailnet("evil")
        async with (
            house.client(acme, 0) as a1,
            house.client(acme, 1) as a2,
            house.client(evil, 0) as e1,
            house.client(evil, 1) as e2,
        ):
            await asyncio.gather(a1.join(acme.key), a2.join(acme.key), e1.join(evil.key), e2.join(evil.key))
            for client in (a1, a2, e1, e2):
                netmap = await client.netmap_where(lambda n: len(n.peers) == 1)
                assert netmap.node.id in (1, 2)
            addresses = [
                {a1.netmap.node.addresses, a2.netmap.node.addresses},
                {e1.netmap.node.addresses, e2.netmap.node.addresses},
            ]
            assert addresses[0] == addresses[1]


async def test_an_endpoint_change_reaches_peers_on_the_other_worker(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as alice, house.client(acme, 1) as bob:
            await alice.join(acme.key)
            await bob.join(acme.key)
            endpoint = alice.mark.endpoint(4711)
            await alice.update_endpoints([endpoint])
            await bob.netmap_where(lambda n: any(p.endpoints == (endpoint,) for p in n.peers.values()))


async def test_a_deleted_node_is_told_so_and_its_peers_forget_it(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as alice, house.client(acme, 1) as bob:
            await alice.join(acme.key)
            await bob.join(acme.key)
            await bob.netmap_where(lambda n: len(n.peers) == 1)
            await nodes.delete_node(house.tool, TESTER, acme.id, alice.netmap.node.id)
            await bob.netmap_where(lambda n: not n.peers)
            await alice.netmap_where(lambda n: n.node.expired)
