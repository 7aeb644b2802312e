"""A login waits for a person, whichever process the device asks and whichever the person uses."""

import asyncio

import pytest
from tests.registration import Device, Home, World, policy_of, world
from tests.store_world import ADMIN
from tests.waiting import until

from headscale_saas.access import credentials
from headscale_saas.actions import logins, nodes
from headscale_saas.actions.logins import LoginWaiters
from headscale_saas.actions.outcome import Declined, Pending, Registered
from headscale_saas.errors import AlreadyUsed, Invalid, NotFound
from headscale_saas.store import directory
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailnet.model import RegisterMethod, UserId


def url(pending: Pending) -> str:
    return f"https://control.example/register/{pending.login_id}"


async def begun(w: World, device: Device) -> Pending:
    outcome = await device.register(w.db)
    assert isinstance(outcome, Pending)
    return outcome


async def approved(w: World, home: Home, pending: Pending, user: UserId | None = None):
    return await logins.approve_login(w.db, policy_of, ADMIN, home.id, user or home.anna, pending.login_id)


async def follow(w: World, device: Device, pending: Pending, waiters: LoginWaiters):
    """A follow-up on the second process; returns when it waits."""
    task = asyncio.create_task(device.register(w.processes[1], followup=url(pending), wait=waiters.wait))
    await until(lambda: len(waiters) > 0)
    return task


async def test_a_follow_up_on_another_process_ends_with_the_approval(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home, device, waiters = await w.home(), Device(), LoginWaiters()
        pending = await begun(w, device)
        task = await follow(w, device, pending, waiters)
        await waiters.look(w.processes[1])
        assert not task.done()
        node = await approved(w, home, pending)
        await waiters.look(w.processes[1])
        outcome = await task
        assert isinstance(outcome, Registered)
        assert (outcome.node, outcome.user and outcome.user.id) == (node, home.anna)
        assert node.register_method is RegisterMethod.CLI
        assert len(waiters) == 0
        # The client lost the answer and asks again.
        assert await device.register(w.db, followup=url(pending)) == outcome


async def test_a_rejected_login_is_told_so(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home, device, waiters = await w.home(), Device(), LoginWaiters()
        pending = await begun(w, device)
        task = await follow(w, device, pending, waiters)
        await logins.reject_login(w.db, ADMIN, pending.login_id, "not your device")
        await waiters.look(w.processes[1])
        assert await task == Declined(message="not your device")
        with pytest.raises(AlreadyUsed):
            await approved(w, home, pending)
        assert await home.nodes() == []


async def test_a_follow_up_that_is_given_up_leaves_nothing_behind(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        device, waiters = Device(), LoginWaiters()
        task = await follow(w, device, await begun(w, device), waiters)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(waiters) == 0


@pytest.mark.parametrize("followup", ["https://a.example/register/hskey-authreq-" + "a" * 24, "nonsense"])
async def test_an_unknown_login_is_begun_anew_under_another_url(database_dsn: str, followup: str) -> None:
    async with world(database_dsn) as w:
        outcome = await Device().register(w.db, followup=followup)
        assert isinstance(outcome, Pending)
        assert outcome.login_id not in followup


async def test_a_newer_login_of_the_machine_ends_the_one_before(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home, device, waiters = await w.home(), Device(), LoginWaiters()
        first = await begun(w, device)
        task = await follow(w, device, first, waiters)
        second = await begun(w, device)
        await waiters.look(w.processes[1])
        third = await task
        assert isinstance(third, Pending)
        assert len({first.login_id, second.login_id, third.login_id}) == 3
        with pytest.raises(NotFound, match="no pending auth session"):
            await approved(w, home, first)


async def test_approving_twice_is_harmless_for_one_user_and_refused_for_another(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        pending = await begun(w, device)
        node = await approved(w, home, pending)
        assert await approved(w, home, pending) == node
        with pytest.raises(AlreadyUsed):
            await approved(w, home, pending, home.bert)
        assert len(await home.nodes()) == 1


async def test_a_login_again_keeps_the_node_and_one_of_another_user_makes_another(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        node = await approved(w, home, await begun(w, device))
        device.rotate()
        again = await approved(w, home, await begun(w, device))
        assert (again.id, again.node_key, again.ipv4) == (node.id, device.node_key, node.ipv4)
        device.rotate()
        other = await approved(w, home, await begun(w, device), home.bert)
        assert other.id != node.id
        device.rotate()
        assert (await approved(w, home, await begun(w, device))).id == node.id


async def test_the_old_key_is_good_until_the_new_one_is_approved(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        await device.join(w.db, await home.key())
        old = device.node_key
        device.rotate()
        pending = await begun(w, device)
        assert isinstance(await device.register(w.db, node_key=old), Registered)
        await approved(w, home, pending)
        assert not isinstance(await device.register(w.db, node_key=old), Registered)


async def test_tags_need_a_policy_that_permits_them(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        wish = Hostinfo(hostname="x", request_tags=("tag:admin",))
        pending = await device.register(w.db, hostinfo=wish)
        with pytest.raises(Exception, match=r"requested tags \[tag:admin\] are invalid or not permitted"):
            await approved(w, home, pending)
        assert await home.nodes() == []


async def test_an_admin_gives_a_tagged_node_that_asks_for_no_tags_to_the_user(database_dsn: str) -> None:
    # As headscale does it: logging in anew without tags is how a node gets rid of them.
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        tagged = await device.join(w.db, await home.key(tags=["tag:web"]))
        await nodes.expire_node(w.db, ADMIN, home.id, tagged.id)
        device.rotate()
        back = await approved(w, home, await begun(w, device))
        assert (back.id, back.tags, back.user_id, back.ipv4) == (tagged.id, (), home.anna, tagged.ipv4)
        assert await home.node(tagged) == back


async def test_what_cannot_be_approved(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        with pytest.raises(Invalid, match="invalid auth_id"):
            await logins.approve_login(w.db, policy_of, ADMIN, home.id, home.anna, "x")
        unknown = Pending(login_id=credentials.new_login_id())
        with pytest.raises(NotFound, match="no pending auth session"):
            await approved(w, home, unknown)
        pending = await begun(w, Device())
        with pytest.raises(NotFound, match="user not found"):
            await approved(w, home, pending, UserId(99))


@pytest.mark.parametrize("flood", ["192.0.2.7", "2001:db8:1:2::{:x}"])
async def test_a_flood_of_logins_pushes_itself_out(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, flood: str
) -> None:
    monkeypatch.setattr(directory.put_login, "__defaults__", (20,))
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        device.origin = "198.51.100.1"
        pending = await begun(w, device)
        for number in range(50):
            crowd = Device()
            crowd.origin = flood.format(number)
            await begun(w, crowd)
        assert (await approved(w, home, pending)).node_key == device.node_key
        async with w.db.directory() as tx:
            assert await tx.fetchval("select count(*) from pending_logins") <= 21


async def test_what_waits_is_small_whatever_was_sent(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        tags = tuple(f"tag:t{number}" for number in range(5))
        routes = tuple(f"fd00:{number:x}:ffff:ffff::/64" for number in range(512))
        long = "\U0001f600" * 256
        info = Hostinfo(
            hostname="router", routable_ips=routes, distro=long, app=long, package=long, cloud=long
        )
        pending = await device.register(w.db, hostinfo=info)
        assert isinstance(pending, Pending)
        async with w.db.directory() as tx:
            assert await tx.fetchval("select max(octet_length(request)) from pending_logins") < 16 << 10
        assert (await approved(w, home, pending)).name == "router"
        too_long = tuple(f"{tag}\U0001f600" + "\U0001f600" * 250 for tag in tags * 6)
        with pytest.raises(Invalid, match="tags"):
            await Device().register(w.db, hostinfo=Hostinfo(request_tags=too_long))
