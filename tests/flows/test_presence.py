"""Online and offline, and what time alone changes, over several processes and a clock that is told."""

import os
from datetime import timedelta

import psycopg
import pytest
from msgspec.structs import replace
from tests.registration import CAPVER, Device, Home, World, database_now, policy_of, settle, world
from tests.store_world import ADMIN

from headscale_saas.actions import nodes, presence, report, tailnets, upkeep
from headscale_saas.actions.presence import GRACE
from headscale_saas.errors import Refused
from headscale_saas.store import directory
from headscale_saas.store.directory import NodeRef
from headscale_saas.tailcfg.hostinfo import Hostinfo, NetInfo, Service
from headscale_saas.tailcfg.keys import DiscoKey
from headscale_saas.tailcfg.maps import MapRequest
from headscale_saas.tailnet.model import NodeId, Settings

SECOND = timedelta(seconds=1)


async def one_node(w: World, home: Home, **options):
    return await Device().join(w.db, await home.key(**options))


async def test_the_first_stream_makes_a_version_and_the_next_ones_none(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home = await w.home()
        node = await one_node(w, home)
        here, there = w.processes
        version = await home.version()
        first = await presence.admit(here, here.process, home.id, [node.id])
        assert first[node.id].previous is None
        assert (await home.node(node)).online
        assert await home.version() == version + 1
        second = await presence.admit(there, there.process, home.id, [node.id])
        assert second[node.id].previous == here.process
        assert second[node.id].token > first[node.id].token
        assert await home.version() == version + 1


async def test_a_late_end_of_an_older_stream_counts_for_nothing(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        node = await one_node(w, home)
        old = (await presence.admit(w.db, w.db.process, home.id, [node.id]))[node.id].token
        await presence.admit(w.db, w.db.process, home.id, [node.id])
        await presence.ended(w.db, home.id, {node.id: old})
        assert await settle(w.db, await database_now(w.db) + 2 * GRACE) == 0
        assert (await home.node(node)).online


async def test_a_node_goes_offline_ten_seconds_after_its_stream(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        node = await one_node(w, home)
        token = (await presence.admit(w.db, w.db.process, home.id, [node.id]))[node.id].token
        before = await database_now(w.db)
        await presence.ended(w.db, home.id, {node.id: token})
        after = await database_now(w.db)
        assert await settle(w.db, before + GRACE - SECOND) == 0
        assert await settle(w.db, after + GRACE) == 1
        gone = await home.node(node)
        assert not gone.online
        assert gone.last_seen is not None
        assert before <= gone.last_seen <= after
        assert await settle(w.db, after + 2 * GRACE) == 0


async def test_a_reconnect_within_the_grace_costs_no_version(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        node = await one_node(w, home)
        token = (await presence.admit(w.db, w.db.process, home.id, [node.id]))[node.id].token
        version = await home.version()
        await presence.ended(w.db, home.id, {node.id: token})
        again = await presence.admit(w.db, w.db.process, home.id, [node.id])
        assert again[node.id].previous is None
        assert await settle(w.db, await database_now(w.db) + 2 * GRACE) == 0
        assert await home.version() == version


async def test_the_nodes_of_a_dead_process_go_offline_and_those_of_others_do_not(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home = await w.home()
        lost, kept = await one_node(w, home), await one_node(w, home)
        here, doomed = w.processes
        await presence.admit(doomed, doomed.process, home.id, [lost.id])
        await presence.admit(here, here.process, home.id, [kept.id])
        async with here.directory() as tx:
            await directory.sign_off(tx, doomed.process)
            at = next(p.heartbeat_at for p in await directory.list_processes(tx) if p.dead_at)
        assert await settle(here, at + GRACE - SECOND) == 0
        assert await settle(here, at + GRACE) == 1
        assert not (await home.node(lost)).online
        assert (await home.node(lost)).last_seen == at
        assert (await home.node(kept)).online


async def test_streams_of_nodes_that_do_not_exist_are_not_admitted(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        node = await one_node(w, home)
        other = NodeId(99)
        admitted = await presence.admit(w.db, w.db.process, home.id, [node.id, other])
        assert set(admitted) == {node.id}
        await nodes.delete_node(w.db, ADMIN, home.id, node.id)
        await presence.ended(w.db, home.id, {node.id: admitted[node.id].token})


async def test_a_node_expires_when_its_time_comes(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=Settings(node_expiry=timedelta(hours=1)))
        node = await one_node(w, home)
        version = await home.version()
        assert await upkeep.run_once(w.db, node.expires_at - SECOND)
        assert await home.version() == version
        assert await upkeep.run_once(w.db, node.expires_at)
        assert (await home.node(node)).expired
        assert await upkeep.run_once(w.db, node.expires_at + SECOND)
        assert await home.version() == version + 1


async def test_ephemeral_nodes_go_after_their_timeout_and_not_before_they_came(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=Settings(ephemeral_timeout=timedelta(minutes=2)))
        never, online, lasting = (
            await one_node(w, home, ephemeral=True),
            await one_node(w, home, ephemeral=True),
            await one_node(w, home),
        )
        token = (await presence.admit(w.db, w.db.process, home.id, [online.id]))[online.id].token
        start = never.created_at
        await upkeep.run_once(w.db, start + timedelta(seconds=119))
        assert len(await home.nodes()) == 3
        await upkeep.run_once(w.db, start + timedelta(minutes=10))
        assert [node.id for node in await home.nodes()] == [online.id, lasting.id]
        await presence.ended(w.db, home.id, {online.id: token})
        end = await database_now(w.db)
        await upkeep.run_once(w.db, end + timedelta(seconds=60))
        assert len(await home.nodes()) == 2
        await upkeep.run_once(w.db, end + timedelta(seconds=121))
        assert [node.id for node in await home.nodes()] == [lasting.id]
        # Their keys are free again, in the directory too.
        async with w.db.directory() as tx:
            assert await directory.node_of_key(tx, never.node_key) is None


async def test_only_one_process_does_the_upkeep(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        assert await upkeep.run_once(w.processes[0])
        assert not await upkeep.run_once(w.processes[1])
        assert await upkeep.run_once(w.processes[0])


# ── Reports ─────────────────────────────────────────────────────────────────────────────────────────────────


async def reporter(w: World, device: Device) -> NodeRef:
    async with w.db.directory() as tx:
        ref = await directory.node_of_key(tx, device.node_key)
    assert ref is not None
    return ref


async def test_a_report_is_taken_over_once(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device("web")
        node = await device.join(w.db, await home.key())
        ref, disco = await reporter(w, device), DiscoKey(os.urandom(32))
        hostinfo = Hostinfo(
            hostname="web",
            os="linux",
            services=(Service(proto="peerapi4", port=1),),
            net_info=NetInfo(preferred_derp=4),
        )
        request = MapRequest(
            version=CAPVER + 1,
            disco_key=disco,
            hostinfo=hostinfo,
            endpoints=("192.0.2.1:41641", "127.0.0.1:1", "0.0.0.0:5", "[fe80::1%eth0]:7"),
            omit_peers=True,
        )
        version = await home.version()
        await report.report(w.db, policy_of, ref, request)
        after = await home.node(node)
        assert (after.disco_key, after.capver, after.home_derp) == (disco, CAPVER + 1, 4)
        assert (after.endpoints, after.hostinfo) == (("192.0.2.1:41641",), hostinfo)
        assert await home.version() == version + 1
        await report.report(w.db, policy_of, ref, request)
        assert await home.version() == version + 1
        # What a client leaves out it does not know: it stays.
        silent = replace(
            request, disco_key=DiscoKey.zero(), endpoints=(), hostinfo=replace(hostinfo, net_info=None)
        )
        await report.report(w.db, policy_of, ref, silent)
        assert await home.node(node) == after
        assert await home.version() == version + 1


async def test_a_new_hostname_renames_the_node_unless_an_admin_named_it(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device("one")
        node = await device.join(w.db, await home.key())
        ref = await reporter(w, device)

        async def called(hostname: str) -> str:
            request = MapRequest(version=CAPVER, hostinfo=Hostinfo(hostname=hostname), omit_peers=True)
            await report.report(w.db, policy_of, ref, request)
            return (await home.node(node)).name

        await Device("two").join(w.db, await home.key())
        assert await called("two") == "two-1"
        assert await called("TWO") == "two-1"
        await nodes.rename_node(w.db, ADMIN, home.id, node.id, "mine")
        assert await called("three") == "mine"


async def test_an_expired_node_is_not_heard_until_its_key_is_good_again(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device("web")
        node = await device.join(w.db, await home.key())
        ref = await reporter(w, device)
        request = MapRequest(
            version=CAPVER + 1,
            disco_key=DiscoKey(os.urandom(32)),
            hostinfo=Hostinfo(hostname="elsewhere", os="linux"),
            endpoints=("192.0.2.1:41641",),
            omit_peers=True,
        )
        expired = await nodes.expire_node(w.db, ADMIN, home.id, node.id)
        version = await home.version()
        with pytest.raises(Refused, match="expired"):
            await report.report(w.db, policy_of, ref, request)
        assert (await home.node(node), await home.version()) == (expired, version)
        await nodes.expire_node(w.db, ADMIN, home.id, node.id, never=True)
        await report.report(w.db, policy_of, ref, request)
        assert (await home.node(node)).endpoints == request.endpoints


async def test_what_an_expired_node_reports_takes_no_place_in_the_lane(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could repeat it without end, and those who write would wait behind it."""

    async def no_write(*_args: object, **_options: object) -> None:
        raise AssertionError("it was given a place")

    async with world(database_dsn) as w:
        home, device = await w.home(), Device("web")
        node = await device.join(w.db, await home.key())
        ref = await reporter(w, device)
        known = await nodes.expire_node(w.db, ADMIN, home.id, node.id)
        request = MapRequest(version=CAPVER, endpoints=("192.0.2.1:41641",), omit_peers=True)
        monkeypatch.setattr(w.db, "write", no_write)
        with pytest.raises(Refused, match="expired"):
            await report.report(w.db, policy_of, ref, request, known)


async def test_a_node_is_expired_for_its_reports_before_upkeep_has_said_so(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device("web")
        node = await device.join(w.db, await home.key())
        ref = await reporter(w, device)
        soon = await database_now(w.db) + timedelta(milliseconds=50)
        await nodes.expire_node(w.db, ADMIN, home.id, node.id, at=soon)
        while await database_now(w.db) <= soon:
            assert not (await home.node(node)).expired
        with pytest.raises(Refused, match="expired"):
            await report.report(w.db, policy_of, ref, MapRequest(version=CAPVER + 1, omit_peers=True))


async def test_a_report_cannot_give_tags(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        node = await device.join(w.db, await home.key())
        wish = Hostinfo(hostname=device.hostname, request_tags=("tag:admin",))
        request = MapRequest(version=CAPVER, hostinfo=wish, omit_peers=True)
        await report.report(w.db, policy_of, await reporter(w, device), request)
        after = await home.node(node)
        assert (after.tags, after.user_id) == ((), home.anna)


async def test_the_audit_log_is_kept_for_ninety_days(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, gone = await w.home("acme"), await w.home("gone")
        await one_node(w, home)
        await one_node(w, gone)
        await tailnets.delete_tailnet(w.db, ADMIN, "gone")
        written = await database_now(w.db)
        await upkeep.run_once(w.db, written + timedelta(days=89))
        assert audited_tailnets(database_dsn) == {home.id, gone.id}
        await upkeep.run_once(w.db, written + timedelta(days=90))
        assert audited_tailnets(database_dsn) == set()


def audited_tailnets(dsn: str) -> set[int]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("select tailnet_id from audit where action = 'node.register'")
        return {row[0] for row in rows}
