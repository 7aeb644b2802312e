"""What an admin does to nodes, users, keys and tailnets: done, logged, or refused in headscale's words."""

from datetime import timedelta

import pytest
from tests.registration import Device, database_now, policy_of, world
from tests.store_world import ADMIN, CLUSTER

from headscale_saas.access import credentials
from headscale_saas.access.credentials import KeyKind
from headscale_saas.actions import api_keys, auth_keys, clusters, nodes, tailnets, users
from headscale_saas.errors import Conflict, Invalid, NotFound
from headscale_saas.store import directory
from headscale_saas.tailnet.model import ClusterId, KeyId, NodeId, Settings, UserId

NOWHERE = NodeId(99)


async def test_a_node_is_renamed_expired_tagged_and_deleted(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device("web")
        node = await device.join(w.db, await home.key())
        version = await home.version()
        assert (await nodes.rename_node(w.db, ADMIN, home.id, node.id, "www")).name == "www"
        assert (await nodes.expire_node(w.db, ADMIN, home.id, node.id)).expired
        never = await nodes.expire_node(w.db, ADMIN, home.id, node.id, never=True)
        assert (never.expires_at, never.expired) == (None, False)
        tagged = await nodes.tag_node(w.db, policy_of, ADMIN, home.id, node.id, ["tag:b", "tag:a"])
        assert (tagged.tags, tagged.user_id) == (("tag:a", "tag:b"), None)
        assert await home.version() == version + 4
        await nodes.rename_node(w.db, ADMIN, home.id, node.id, "www")
        assert await home.version() == version + 4
        await nodes.delete_node(w.db, ADMIN, home.id, node.id)
        assert await home.nodes() == []
        async with w.db.directory() as tx:
            assert await directory.node_of_key(tx, device.node_key) is None
            assert await directory.nodes_of_machine(tx, device.machine_key) == []
        for action in ("node.rename", "node.tag", "node.delete"):
            assert len(await home.audit(action)) == 1


async def test_an_expiry_in_the_past_is_now(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        node = await Device().join(w.db, await home.key())
        now = await database_now(w.db)
        gone = await nodes.expire_node(w.db, ADMIN, home.id, node.id, at=now.replace(year=1970))
        assert gone.expired
        assert gone.expires_at is not None
        assert gone.expires_at >= now
        later = await nodes.expire_node(w.db, ADMIN, home.id, node.id, at=now + timedelta(days=1))
        assert not later.expired
        with pytest.raises(Invalid):
            await nodes.expire_node(w.db, ADMIN, home.id, node.id, at=now, never=True)


async def test_what_cannot_be_done_to_a_node(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key = await home.key(reusable=True)
        one, _ = await Device("one").join(w.db, key), await Device("two").join(w.db, key)
        with pytest.raises(Conflict, match="taken"):
            await nodes.rename_node(w.db, ADMIN, home.id, one.id, "two")
        with pytest.raises(Invalid, match="too long"):
            await nodes.rename_node(w.db, ADMIN, home.id, one.id, "x" * 64)
        with pytest.raises(Invalid, match="cannot remove all tags"):
            await nodes.tag_node(w.db, policy_of, ADMIN, home.id, one.id, [])
        with pytest.raises(Invalid, match="tag must start"):
            await nodes.tag_node(w.db, policy_of, ADMIN, home.id, one.id, ["web"])
        for act in (nodes.delete_node, nodes.expire_node):
            with pytest.raises(NotFound, match="node not found"):
                await act(w.db, ADMIN, home.id, NOWHERE)
        with pytest.raises(NotFound, match="node not found"):
            await nodes.get_node(w.db, home.id, NOWHERE)


async def test_routes_are_approved_in_canonical_form(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        node = await Device().join(w.db, await home.key())
        approved = await nodes.approve_routes(
            w.db, ADMIN, home.id, node.id, ["10.1.2.3/8", "0.0.0.0/0", "10.0.0.0/8", ""]
        )
        assert approved.approved_routes == ("0.0.0.0/0", "10.0.0.0/8", "::/0")
        assert (await nodes.approve_routes(w.db, ADMIN, home.id, node.id, [""])).approved_routes == ()


@pytest.mark.parametrize(
    "route", ["nonsense", "10.0.0.1", "127.0.0.0/8", "100.64.0.0/10", "fe80::/64", "224.0.0.0/4"]
)
async def test_routes_that_nobody_may_serve(database_dsn: str, route: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        node = await Device().join(w.db, await home.key())
        with pytest.raises(Invalid, match="route"):
            await nodes.approve_routes(w.db, ADMIN, home.id, node.id, [route])


async def test_users_are_made_renamed_and_destroyed_without_their_nodes(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        with pytest.raises(Conflict, match="user already exists"):
            await users.create_user(w.db, ADMIN, home.id, "anna")
        with pytest.raises(Conflict, match="user already exists"):
            await users.rename_user(w.db, ADMIN, home.id, home.bert, "anna")
        assert (await users.rename_user(w.db, ADMIN, home.id, home.bert, "carl")).name == "carl"
        assert [user.name for user in await users.list_users(w.db, home.id)] == ["anna", "carl"]
        assert [user.id for user in await users.list_users(w.db, home.id, name="carl")] == [home.bert]
        await Device().join(w.db, await home.key())
        with pytest.raises(Conflict, match="node"):
            await users.destroy_user(w.db, ADMIN, home.id, home.anna)
        annas, berts = await home.key(), await home.key(user=home.bert)
        await users.destroy_user(w.db, ADMIN, home.id, home.bert)
        await Device().join(w.db, annas)
        assert len(await auth_keys.list_auth_keys(w.db, home.id)) == 2
        assert (await Device().register(w.db, berts)).message == "invalid pre auth key"
        with pytest.raises(NotFound, match="user not found"):
            await users.destroy_user(w.db, ADMIN, home.id, home.bert)


async def test_no_user_can_be_called_what_a_policy_calls_another(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await users.create_user(w.db, ADMIN, home.id, "carl", email="carl@example.com")
        for name, email in (("dora", "carl@example.com"), ("dora", "anna@"), ("carl@example.com", "")):
            with pytest.raises(Conflict, match=r"is called (carl@example.com|anna@) already"):
                await users.create_user(w.db, ADMIN, home.id, name, email=email)
        with pytest.raises(Conflict, match=r"user 3 is called carl@example.com already"):
            await users.rename_user(w.db, ADMIN, home.id, home.bert, "carl@example.com")
        assert len(await users.list_users(w.db, home.id)) == 3


@pytest.mark.parametrize("name", ["", "1a b", "a\nb", "x" * 300, "-x"])
async def test_what_a_user_cannot_be_called(database_dsn: str, name: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        with pytest.raises(Invalid):
            await users.create_user(w.db, ADMIN, home.id, name)


async def test_auth_keys_need_an_owner_and_good_tags(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        with pytest.raises(Invalid, match="user or tags"):
            await auth_keys.create_auth_key(w.db, ADMIN, home.id)
        with pytest.raises(Invalid, match="tag must"):
            await auth_keys.create_auth_key(w.db, ADMIN, home.id, tags=["web"])
        with pytest.raises(NotFound, match="user not found"):
            await auth_keys.create_auth_key(w.db, ADMIN, home.id, user=UserId(99))
        for act in (auth_keys.expire_auth_key, auth_keys.delete_auth_key):
            with pytest.raises(NotFound):
                await act(w.db, ADMIN, home.id, KeyId(99))


async def test_api_keys_are_found_by_id_or_prefix(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        made = await api_keys.create_api_key(w.db, ADMIN, home.id)
        read = credentials.read_key(KeyKind.API, made.text)
        assert read is not None
        assert credentials.is_genuine(read, made.key.secret_hash)
        expired = await api_keys.expire_api_key(w.db, ADMIN, home.id, prefix=read.prefix)
        assert expired.expires_at is not None
        assert await api_keys.list_api_keys(w.db, home.id) == [expired]
        with pytest.raises(Invalid, match="either"):
            await api_keys.delete_api_key(w.db, ADMIN, home.id)
        with pytest.raises(Invalid, match="only one"):
            await api_keys.delete_api_key(w.db, ADMIN, home.id, key=made.key.id, prefix=read.prefix)
        await api_keys.delete_api_key(w.db, ADMIN, home.id, key=made.key.id)
        with pytest.raises(NotFound):
            await api_keys.delete_api_key(w.db, ADMIN, home.id, key=made.key.id)


async def test_no_secret_is_in_the_database(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        texts = [await home.key(), (await api_keys.create_api_key(w.db, ADMIN, home.id)).text]
        secrets = [text[-64:] for text in texts]
        await Device().join(w.db, texts[0])
        async with w.db.read(home.id) as tx:
            for table in ("auth_keys", "api_keys", "audit", "nodes", "tailnet_settings"):
                rows = [row["t"] for row in await tx.fetch(f"select {table}::text as t from {table}")]
                assert rows
                assert not any(secret in row for secret in secrets for row in rows)


async def test_tailnets_and_clusters_have_names_of_their_own(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        await w.home("acme")
        for name in ("", "Upper", "a.b", "-a", "x" * 64):
            with pytest.raises(Invalid):
                await tailnets.create_tailnet(w.db, ADMIN, name, CLUSTER, Settings())
        with pytest.raises(Conflict):
            await tailnets.create_tailnet(w.db, ADMIN, "acme", CLUSTER, Settings())
        with pytest.raises(NotFound, match="cluster not found"):
            await tailnets.create_tailnet(w.db, ADMIN, "other", ClusterId(77), Settings())
        settings = Settings(base_domain="acme.example")
        made = await tailnets.create_tailnet(w.db, ADMIN, "other", CLUSTER, settings)
        assert (await tailnets.show_tailnet(w.db, "other")).settings == made.settings == settings
        assert [head.name for head in await tailnets.list_tailnets(w.db)] == ["acme", "other"]
        await clusters.create_cluster(w.db, ADMIN, ClusterId(5), "north", region="eu", capacity=3)
        assert [one.name for one in await clusters.list_clusters(w.db)] == ["cluster-1", "north"]
        with pytest.raises(Conflict):
            await clusters.create_cluster(w.db, ADMIN, ClusterId(5), "south")


async def test_a_tailnet_goes_with_everything_in_it_and_no_other(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        acme, evil = await w.home("acme"), await w.home("evil")
        device, other = Device(), Device()
        await device.join(w.db, await acme.key())
        await other.join(w.db, await evil.key())
        await tailnets.delete_tailnet(w.db, ADMIN, "acme")
        with pytest.raises(NotFound, match='tailnet "acme" not found'):
            await tailnets.show_tailnet(w.db, "acme")
        async with w.db.directory() as tx:
            assert await directory.node_of_key(tx, device.node_key) is None
        assert len(await evil.nodes()) == 1
