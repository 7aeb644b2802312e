"""Addresses: in order, never twice, rested for a day, and a clear end."""

import asyncio
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from msgspec.structs import replace
from tests.registration import Device, Home, World, database_now, world
from tests.store_world import ADMIN

from headscale_saas.actions import nodes, upkeep
from headscale_saas.actions.outcome import Declined
from headscale_saas.actions.settings import set_settings
from headscale_saas.tailnet.model import Allocation, NodeId, Settings

TINY = Settings(prefix_v4=IPv4Network("100.64.0.0/29"))
"""Room for six."""

DAY = timedelta(hours=24, minutes=1)


async def join(w: World, home: Home) -> IPv4Address:
    node = await Device().join(w.db, await home.key())
    assert node.ipv4 is not None
    return node.ipv4


def last_digit(address: IPv4Address) -> int:
    return int(address) & 0xFF


async def test_a_freed_address_rests_while_others_are_free(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=TINY)
        given = [last_digit(await join(w, home)) for _ in range(3)]
        await nodes.delete_node(w.db, ADMIN, home.id, (await home.nodes())[2].id)
        given += [last_digit(await join(w, home)) for _ in range(3)]
        # Nothing is left but what rests.
        given.append(last_digit(await join(w, home)))
        assert given == [1, 2, 3, 4, 5, 6, 3]


async def test_the_address_that_rested_longest_goes_first(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=TINY)
        for _ in range(6):
            await join(w, home)
        for number in (4, 2, 5):
            await nodes.delete_node(w.db, ADMIN, home.id, NodeId(number))
        assert [last_digit(await join(w, home)) for _ in range(3)] == [4, 2, 5]


async def test_after_a_day_the_lowest_gap_is_used(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=TINY)
        for _ in range(6):
            await join(w, home)
        for node in (await home.nodes())[1:4]:
            await nodes.delete_node(w.db, ADMIN, home.id, node.id)
        await upkeep.run_once(w.db, await database_now(w.db) + DAY)
        assert [last_digit(await join(w, home)) for _ in range(3)] == [2, 3, 4]


async def test_a_full_range_says_so_at_once_and_others_do_not_notice(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        full, other = await w.home("full", TINY), await w.home("other")
        for _ in range(6):
            await join(w, full)
        key = await full.key()
        async with asyncio.timeout(5):  # it neither waits for a free address nor tries for ever
            outcome = await Device().register(w.db, key)
        assert outcome == Declined(message="no free address is left in 100.64.0.0/29")
        assert last_digit(await join(w, other)) == 1
        # The key was not used up by that.
        await nodes.delete_node(w.db, ADMIN, full.id, (await full.nodes())[0].id)
        await Device().join(w.db, key)


async def test_reserved_addresses_are_nobodys(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        settings = Settings(
            prefix_v4=IPv4Network("100.100.100.96/29"), prefix_v6=IPv6Network("fd7a:115c:a1e0::50/125")
        )
        home = await w.home(settings=settings)
        joined = [await Device().join(w.db, await home.key()) for _ in range(5)]
        assert [last_digit(node.ipv4) for node in joined if node.ipv4] == [97, 98, 99, 101, 102]
        assert [int(node.ipv6) & 0xFF for node in joined if node.ipv6] == [0x51, 0x52, 0x54, 0x55, 0x56]


async def test_random_addresses_fill_a_range(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=replace(TINY, allocation=Allocation.RANDOM))
        given = {last_digit(await join(w, home)) for _ in range(6)}
        assert given == {1, 2, 3, 4, 5, 6}
        assert isinstance(await Device().register(w.db, await home.key()), Declined)


async def test_a_tailnet_may_have_one_family_and_get_the_other_later(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=Settings(prefix_v6=None))
        node = await Device().join(w.db, await home.key())
        assert (node.ipv4, node.ipv6) == (IPv4Address("100.64.0.1"), None)
        assert await nodes.backfill_addresses(w.db, ADMIN, home.id) == []
        await set_settings(w.db, ADMIN, home.id, Settings(prefix_v4=None))
        lines = await nodes.backfill_addresses(w.db, ADMIN, home.id)
        assert len(lines) == 2
        assert str((await home.node(node)).ipv6) == "fd7a:115c:a1e0::1"
        assert (await home.node(node)).ipv4 is None


async def test_another_range_starts_at_its_beginning(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await join(w, home)
        await set_settings(w.db, ADMIN, home.id, Settings(prefix_v4=IPv4Network("100.99.0.0/16")))
        assert [str(await join(w, home)) for _ in range(2)] == ["100.99.0.1", "100.99.0.2"]


@pytest.mark.parametrize("allocation", list(Allocation))
async def test_many_at_once_never_share_an_address(database_dsn: str, allocation: Allocation) -> None:
    async with world(database_dsn, processes=4) as w:
        home = await w.home(settings=Settings(allocation=allocation))
        key = await home.key(reusable=True)
        turns = (Device().join(w.processes[turn % 4], key) for turn in range(100))
        joined = await asyncio.gather(*turns)
        assert len({node.ipv4 for node in joined}) == len({node.ipv6 for node in joined}) == 100
