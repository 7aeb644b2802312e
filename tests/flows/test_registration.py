"""Auth keys let devices in: once, many times, or not at all; a device that is in stays in."""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address

import pytest
from tests.registration import Device, database_now, world
from tests.store_world import ADMIN

from headscale_saas.actions import auth_keys, nodes
from headscale_saas.actions.outcome import Declined, KeyExpired, LoggedOut, Registered
from headscale_saas.errors import Invalid, Unavailable
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailnet.model import KeyId, RegisterMethod, Settings

HOUR = timedelta(hours=1)


async def test_the_first_node_gets_the_first_addresses_and_its_own_name(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        node = await Device("Bobs-Mac.local").join(w.db, await home.key())
        assert (node.id, node.name, node.hostname) == (1, "bobs-mac", "Bobs-Mac.local")
        assert (node.ipv4, node.ipv6) == (IPv4Address("100.64.0.1"), IPv6Address("fd7a:115c:a1e0::1"))
        assert (node.user_id, node.register_method) == (home.anna, RegisterMethod.AUTH_KEY)
        assert node == await home.node(node)


async def test_64_clients_race_for_a_single_use_key_on_four_processes(database_dsn: str) -> None:
    async with world(database_dsn, processes=4) as w:
        home = await w.home()
        key = await home.key()
        turns = [Device().register(w.processes[turn % 4], key) for turn in range(64)]
        outcomes = Counter(type(outcome) for outcome in await asyncio.gather(*turns))
        assert outcomes == {Registered: 1, Declined: 63}
        assert len(await home.nodes()) == 1
        refusals = await home.audit("node.refuse")
        assert len(refusals) == 63
        assert {entry["result"] for entry in refusals} == {"auth_key_used"}
        assert {entry["auth_key"] for entry in refusals} == {1}
        (welcome,) = await home.audit("node.register")
        assert (welcome["target"], welcome["auth_key"], welcome["result"]) == ("node 1", 1, "created")
        assert {entry["process"] for entry in refusals} <= {p.process for p in w.processes}
        (spent,) = await auth_keys.list_auth_keys(w.db, home.id)
        assert spent.used_at is not None


async def test_a_reusable_key_lets_many_in_under_different_names_and_addresses(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home = await w.home()
        key = await home.key(reusable=True)
        turns = [Device("server").join(w.processes[turn % 2], key) for turn in range(40)]
        joined = await asyncio.gather(*turns)
        assert {node.name for node in joined} == {"server", *(f"server-{n}" for n in range(1, 40))}
        assert len({node.ipv4 for node in joined}) == len({node.ipv6 for node in joined}) == 40
        assert sorted(node.id for node in joined) == list(range(1, 41))


async def test_32_registrations_of_one_machine_make_one_node(database_dsn: str) -> None:
    async with world(database_dsn, processes=4) as w:
        home = await w.home()
        key, device = await home.key(reusable=True), Device()
        turns = [device.join(w.processes[turn % 4], key) for turn in range(32)]
        assert {node.id for node in await asyncio.gather(*turns)} == {1}
        assert len(await home.nodes()) == 1
        assert len(await home.audit("node.register")) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"expires_at": -HOUR}, "authkey expired"),
        ({"revoked": True}, "authkey revoked"),
        ({"used": True}, "authkey already used"),
        ({"wrong": True}, "invalid pre auth key"),
        ({"gone": True}, "invalid pre auth key"),
    ],
)
async def test_a_key_that_is_not_good_any_more(
    database_dsn: str, options: dict[str, object], text: str
) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        expiry = options.get("expires_at")
        key = await home.key(expires_at=await database_now(w.db) + expiry if expiry else None)
        if "revoked" in options:
            await _revoke(home)
        if "used" in options:
            await Device().join(w.db, key)
        if "gone" in options:
            await auth_keys.delete_auth_key(w.db, ADMIN, home.id, KeyId(1))
        if "wrong" in options:
            key = key[:-1] + ("a" if key[-1] != "a" else "b")
        before = len(await home.nodes())
        assert await Device().register(w.db, key) == Declined(message=text)
        assert len(await home.nodes()) == before
        # Of a prefix that leads nowhere no tailnet can know.
        assert len(await home.audit("node.refuse")) == (0 if "gone" in options else 1)


async def _revoke(home) -> None:
    async def revoke(tx) -> None:
        await tx.execute("update auth_keys set revoked_at = now()")

    await home.db.write(home.id, ADMIN, revoke)


@pytest.mark.parametrize("text", ["", "x", "hskey-auth-short", "tskey-auth-abc", "hskey-auth-" + "é" * 77])
async def test_what_is_no_key_is_refused_or_is_no_key(database_dsn: str, text: str) -> None:
    async with world(database_dsn) as w:
        outcome = await Device().register(w.db, text)
        assert outcome == Declined(message="invalid pre auth key") if text else True


async def test_a_container_restarts_with_its_used_expired_and_deleted_key(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home = await w.home()
        key, container = await home.key(), Device()
        node = await container.join(w.db, key)
        version = await home.version()
        assert await container.join(w.processes[1], key) == node
        await auth_keys.expire_auth_key(w.db, ADMIN, home.id, KeyId(1))
        assert await container.join(w.db, key) == node
        assert await home.version() == version
        await auth_keys.delete_auth_key(w.db, ADMIN, home.id, KeyId(1))
        assert (await container.join(w.db, key)).id == node.id
        assert (await container.join(w.db, "")).id == node.id


async def test_an_expired_node_does_not_come_back_with_a_spent_key(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key, device = await home.key(), Device()
        node = await device.join(w.db, key)
        await nodes.expire_node(w.db, ADMIN, home.id, node.id)
        assert await device.register(w.db, key) == Declined(message="authkey already used")
        assert await device.register(w.db) == KeyExpired()
        device.rotate()
        assert await device.register(w.db, key) == Declined(message="authkey already used")
        back = await device.join(w.db, await home.key())
        assert (back.id, back.ipv4, back.expired) == (node.id, node.ipv4, False)


async def test_a_node_key_rotates_and_the_one_before_leads_to_nothing_new(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key, device = await home.key(reusable=True), Device()
        node = await device.join(w.db, key)
        first = device.node_key
        device.rotate()
        rotated = await device.join(w.db, key)
        assert (rotated.id, rotated.ipv4, rotated.name) == (node.id, node.ipv4, node.name)
        assert rotated.node_key == device.node_key
        assert await device.register(w.db, node_key=first) == KeyExpired()
        stranger = Device()
        stranger.node_key = first
        assert await stranger.register(w.db, key) == Declined(message="this node key is in use: log in again")


async def test_a_tagged_key_makes_tagged_nodes_that_never_expire(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=Settings(node_expiry=HOUR))
        tagged = await Device().join(w.db, await home.key(tags=["tag:web"]))
        assert (tagged.user_id, tagged.tags, tagged.expires_at) == (None, ("tag:web",), None)
        owned = await Device().join(w.db, await home.key())
        assert owned.expires_at == owned.created_at + HOUR


async def test_tags_that_the_key_does_not_give_are_refused(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        wish = Hostinfo(hostname="x", request_tags=("tag:x",))
        refused = Declined(message="requested tags [tag:x] are invalid or not permitted")
        assert await Device().register(w.db, await home.key(), hostinfo=wish) == refused
        assert await Device().register(w.db, await home.key(tags=["tag:y"]), hostinfo=wish) == refused
        node = await Device().join(w.db, await home.key(tags=["tag:x", "tag:y"]), hostinfo=wish)
        assert node.tags == ("tag:x", "tag:y")


async def test_a_restart_with_other_tags_changes_nothing(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key, device = await home.key(reusable=True), Device()
        node = await device.join(w.db, key)
        wish = Hostinfo(hostname=device.hostname, request_tags=("tag:admin",))
        assert (await device.join(w.db, key, hostinfo=wish)).tags == ()
        assert (await device.join(w.db, hostinfo=wish)).tags == ()
        device.rotate()
        assert isinstance(await device.register(w.db, key, hostinfo=wish), Declined)
        assert (await home.node(node)).tags == ()


async def test_a_key_of_another_user_makes_another_node(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        device = Device()
        annas = await device.join(w.db, await home.key())
        berts_key = await home.key(user=home.bert)
        assert await device.register(w.db, berts_key) == KeyExpired()
        device.rotate()
        berts = await device.join(w.db, berts_key)
        assert (berts.user_id, berts.machine_key) == (home.bert, annas.machine_key)
        assert berts.id != annas.id
        device.rotate()
        assert (await device.join(w.db, await home.key())).id == annas.id


async def test_a_tagged_key_takes_over_the_only_node_of_a_machine(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        device = Device()
        owned = await device.join(w.db, await home.key())
        tagged = await device.join(w.db, await home.key(tags=["tag:a"]))
        assert (tagged.id, tagged.user_id, tagged.tags) == (owned.id, None, ("tag:a",))


async def test_a_tagged_key_on_a_machine_with_two_owners_is_refused(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        device = Device()
        await device.join(w.db, await home.key())
        device.rotate()
        await device.join(w.db, await home.key(user=home.bert))
        device.rotate()
        outcome = await device.register(w.db, await home.key(tags=["tag:a"]))
        assert isinstance(outcome, Declined)
        assert "several nodes" in outcome.message


async def test_logging_out_expires_a_node_and_removes_an_ephemeral_one(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        past = (await database_now(w.db)).replace(year=1970)
        device, passing = Device(), Device()
        key, passing_key = await home.key(), await home.key(ephemeral=True)
        node = await device.join(w.db, key)
        assert (await passing.join(w.db, passing_key)).ephemeral
        # The auth key is sent along by clients that were started with one.
        assert await device.register(w.db, key, expiry=past, followup="x") == LoggedOut()
        assert await passing.register(w.db, passing_key, expiry=past) == LoggedOut()
        (left,) = await home.nodes()
        assert (left.id, left.expired) == (node.id, True)
        assert left.expires_at is not None
        assert left.expires_at.year > 1970
        version = await home.version()
        assert await device.register(w.db, expiry=past) == LoggedOut()
        assert await Device().register(w.db, expiry=past) == LoggedOut()
        assert await home.version() == version
        assert len(await home.audit("node.logout")) == 2


async def test_a_client_can_shorten_the_life_of_its_key_but_not_extend_it(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=Settings(node_expiry=HOUR))
        device = Device()
        node = await device.join(w.db, await home.key())
        assert node.expires_at is not None
        with pytest.raises(Invalid, match="extending key is not allowed"):
            await device.register(w.db, expiry=node.expires_at + HOUR)
        outcome = await device.register(w.db, expiry=node.expires_at - HOUR / 2)
        assert isinstance(outcome, Registered)
        assert (await home.node(node)).expires_at == node.expires_at - HOUR / 2


async def test_an_old_client_is_told_which_release_it_needs(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        outcome = await Device().register(w.db, await home.key(), capver=112, version=112)
        assert isinstance(outcome, Declined)
        assert "1.80" in outcome.message


async def test_names_follow_the_device_and_never_collide(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key = await home.key(reusable=True)
        names = [
            (await Device(hostname).join(w.db, key)).name for hostname in ("🦄", "node", "localhost", "A b")
        ]
        assert names == ["node", "node-1", "localhost-1", "a-b"]
        device = Device("one")
        await device.join(w.db, key)
        device.hostname = "two"
        device.rotate()
        assert (await device.join(w.db, key)).name == "two"


async def test_among_many_devices_of_one_name_one_more_is_let_in_quickly(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key = await home.key(reusable=True)
        await asyncio.gather(*(Device("same").join(w.db, key) for _ in range(200)))
        assert (await Device("same").join(w.db, key)).name == "same-200"


@pytest.mark.parametrize("failing", range(4))
async def test_a_join_that_breaks_off_at_any_statement_leaves_nothing_behind(
    database_dsn: str, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key, device = await home.key(), Device()
        before = await home.version()
        left = failing

        def breaking(statement):
            async def run(tx, *args):
                nonlocal left
                left -= 1
                if left == -1:
                    raise Unavailable("the database does not answer now")
                return await statement(tx, *args)

            return run

        with monkeypatch.context() as patch:
            for name in ("fetch", "fetchval", "execute"):
                patch.setattr(TailnetTx, name, breaking(getattr(TailnetTx, name)))
            with suppress(Unavailable):
                await device.register(w.db, key)
        if left < 0:
            assert await home.nodes() == []
            assert await home.version() == before
        node = await device.join(w.db, key)
        assert (node.id, str(node.ipv4)) == (1, "100.64.0.1")
        assert await home.version() == before + 1
