"""What a device that knows another's public keys, or a leaked login id, gets: nothing, and no hint."""

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace
from tests.registration import CAPVER, Device, Home, database_now, policy_of, world
from tests.store_world import ADMIN

from headscale_saas.actions import logins, nodes, report, upkeep
from headscale_saas.actions.outcome import Declined, KeyExpired, LoggedOut, Outcome, Pending, Registered
from headscale_saas.errors import Conflict, Invalid, NotFound
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.tailcfg.keys import DiscoKey, NodeKey
from headscale_saas.tailcfg.maps import MapRequest

TAKEN = Declined(message="this node key is in use: log in again")


async def with_a_key(db: Database, thief: Device, home: Home) -> Outcome:
    return await thief.register(db, await home.key(reusable=True))


async def without_anything(db: Database, thief: Device, home: Home) -> Outcome:
    return await thief.register(db)


async def at_logout(db: Database, thief: Device, home: Home) -> Outcome:
    return await thief.register(db, expiry=(await database_now(db)).replace(year=1970))


async def at_renewal(db: Database, thief: Device, home: Home) -> Outcome:
    stolen, thief.node_key = thief.node_key, NodeKey(os.urandom(32))
    key = await home.key(reusable=True)
    await thief.join(db, key)
    thief.node_key = stolen
    return await thief.register(db, key)


async def as_the_old_key(db: Database, thief: Device, home: Home) -> Outcome:
    thief.old_node_key, thief.node_key = thief.node_key, NodeKey(os.urandom(32))
    return await thief.register(db, await home.key(reusable=True))


async def in_a_follow_up(db: Database, thief: Device, home: Home) -> Outcome:
    return await thief.register(db, followup="https://a.example/register/" + "hskey-authreq-" + "a" * 24)


WAYS = [with_a_key, without_anything, at_logout, at_renewal, as_the_old_key, in_a_follow_up]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("foreign", [False, True], ids=["same tailnet", "another tailnet"])
async def test_another_machines_node_key_leads_nowhere(
    database_dsn: str, way: Callable[[Database, Device, Home], Awaitable[Outcome]], foreign: bool
) -> None:
    async with world(database_dsn, processes=2) as w:
        home = await w.home("acme")
        elsewhere = await w.home("evil") if foreign else home
        victim, thief = Device(), Device()
        before = await victim.join(w.db, await home.key())
        thief.node_key = victim.node_key
        assert await way(w.processes[1], thief, elsewhere) == TAKEN
        assert await home.node(before) == before


async def test_a_node_key_that_is_taken_between_look_and_write_is_audited(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, other = await w.home("acme"), await w.home("evil")
        victim, thief = Device(), Device()
        key = await other.key()
        thief.node_key = victim.node_key
        looked = False

        async def write(*args, **options):
            """Lets the victim in after the thief's look at the directory."""
            nonlocal looked
            if not looked:
                looked = True
                w.db.write = original
                await victim.join(w.db, await home.key())
            return await original(*args, **options)

        original = w.db.write
        w.db.write = write
        assert await thief.register(w.db, key) == TAKEN
        (entry,) = await other.audit("node.refuse")
        assert (entry["auth_key"], entry["result"]) == (1, "key_in_use")
        assert await other.nodes() == []
        # The single-use key of the other tailnet is still good.
        thief.rotate()
        thief.old_node_key = NodeKey.zero()
        await thief.join(w.db, key)


@pytest.mark.parametrize("attempt", [with_a_key, without_anything])
async def test_the_key_of_a_deleted_node_is_nobody_elses_for_a_day(
    database_dsn: str, attempt: Callable[[Database, Device, Home], Awaitable[Outcome]]
) -> None:
    """Its former peers know it, and would keep the device out with it."""
    async with world(database_dsn) as w:
        acme, evil = await w.home("acme"), await w.home("evil")
        victim, peer = Device(), Device()
        node = await victim.join(w.db, await acme.key())
        await nodes.delete_node(w.db, ADMIN, acme.id, node.id)
        peer.node_key = victim.node_key
        assert await attempt(w.db, peer, acme) == TAKEN
        assert await attempt(w.db, peer, evil) == TAKEN

        assert await attempt(w.db, victim, acme) == KeyExpired()
        assert await attempt(w.db, victim, evil) == KeyExpired()
        assert await at_logout(w.db, victim, acme) == LoggedOut()
        victim.rotate()
        back = await victim.join(w.db, await acme.key())
        assert back.id != node.id

        now = await database_now(w.db)
        await upkeep.run_once(w.db, now + upkeep.KEY_REST - timedelta(minutes=1))
        assert await attempt(w.db, peer, evil) == TAKEN
        await upkeep.run_once(w.db, now + upkeep.KEY_REST + timedelta(minutes=1))
        assert await attempt(w.db, peer, evil) != TAKEN


async def test_an_ephemeral_node_that_was_removed_comes_back_with_a_new_key(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key = await home.key(reusable=True, ephemeral=True)
        device = Device()
        await device.join(w.db, key)
        await upkeep.run_once(w.db, await database_now(w.db) + timedelta(hours=1))
        assert await home.nodes() == []
        assert await device.register(w.db, key) == KeyExpired()
        device.rotate()
        await device.join(w.db, key)


async def test_a_resting_key_is_no_node(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        node = await device.join(w.db, await home.key())
        await nodes.delete_node(w.db, ADMIN, home.id, node.id)
        async with w.db.directory() as tx:
            assert await directory.node_of_key(tx, device.node_key) is None


async def test_zero_keys_are_refused(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        device = Device()
        device.node_key = NodeKey.zero()
        with pytest.raises(Invalid):
            await device.register(w.db)


async def test_a_report_for_a_node_needs_its_current_key(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        victim, thief = Device(), Device()
        node = await victim.join(w.db, await home.key(reusable=True))
        async with w.db.directory() as tx:
            ref = await directory.node_of_key(tx, victim.node_key)
        assert ref is not None
        request = MapRequest(version=CAPVER, disco_key=DiscoKey(os.urandom(32)), omit_peers=True)
        with pytest.raises(NotFound):
            await report.report(w.db, policy_of, replace(ref, machine_key=thief.machine_key), request)
        assert await home.node(node) == node


async def test_one_machine_may_be_a_node_of_two_tailnets(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        acme, evil = await w.home("acme"), await w.home("evil")
        device = Device()
        first = await device.join(w.db, await acme.key())
        # With the key of the other tailnet and the node key of this one: make a new node key.
        key = await evil.key()
        assert await device.register(w.db, key) == KeyExpired()
        device.rotate()
        second = await device.join(w.db, key)
        assert (first.id, second.id) == (1, 1)
        assert (first.ipv4, first.name) == (second.ipv4, second.name)
        assert first.stable_id != second.stable_id
        assert await acme.node(first) == first


async def test_a_bad_key_of_another_tailnet_says_so_and_leaves_the_node_alone(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        acme, evil = await w.home("acme"), await w.home("evil")
        device, spent = Device(), await evil.key()
        await Device().join(w.db, spent)
        node = await device.join(w.db, await acme.key())
        assert await device.register(w.db, spent) == Declined(message="authkey already used")
        assert await acme.node(node) == node


async def test_two_tailnets_with_equal_users_and_addresses_do_not_meet(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        acme, evil = await w.home("acme"), await w.home("evil")
        one = await Device("web").join(w.db, await acme.key())
        other = await Device("web").join(w.db, await evil.key())
        assert (one.id, one.user_id, one.name, one.ipv4, one.ipv6) == (
            other.id,
            other.user_id,
            other.name,
            other.ipv4,
            other.ipv6,
        )
        assert [node.node_key for node in await acme.nodes()] == [one.node_key]
        assert [node.node_key for node in await evil.nodes()] == [other.node_key]


async def test_a_login_cannot_be_approved_by_two_tailnets(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        acme, evil = await w.home("acme"), await w.home("evil")
        pending = await Device().register(w.db)
        assert isinstance(pending, Pending)
        await logins.approve_login(w.db, policy_of, ADMIN, acme.id, acme.anna, pending.login_id)
        with pytest.raises(Conflict):
            await logins.approve_login(w.db, policy_of, ADMIN, evil.id, evil.anna, pending.login_id)
        assert await evil.nodes() == []


async def test_a_leaked_login_id_tells_its_finder_nothing(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        acme = await w.home("acme")
        device, thief = Device(), Device()
        pending = await device.register(w.db)
        assert isinstance(pending, Pending)
        await logins.approve_login(w.db, policy_of, ADMIN, acme.id, acme.anna, pending.login_id)
        url = f"https://a.example/register/{pending.login_id}"
        assert isinstance(await thief.register(w.db, followup=url), Declined)
        assert isinstance(await device.register(w.db, followup=url), Registered)
