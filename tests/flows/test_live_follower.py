"""What one process holds of the tailnets: it comes back after a failover, is forgotten when idle, and one bad
tailnet is alone with its trouble."""

import asyncio
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from tests.service import TESTER, Home, House, service
from tests.waiting import until

from headscale_saas.actions import logins, nodes
from headscale_saas.actions.approvals import policy_of
from headscale_saas.errors import Refused
from headscale_saas.live import follower
from headscale_saas.live.cache import Cache
from headscale_saas.live.follower import IDLE_SECONDS
from headscale_saas.serve import Worker
from headscale_saas.store.feed import Doorbell
from headscale_saas.store.transactions import FeedTx
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.replies import UnexpectedStatus
from headscale_saas.tailnet.model import NodeId, TailnetId

UNREADABLE = {
    "a node": "update nodes set hostinfo = '{\"Hostname\": 7}' where tailnet_id = $1",
    "the settings": "update tailnet_settings set settings = '[]' where tailnet_id = $1",
    "the policy": "update tailnet_settings set policy = 'gibberish {' where tailnet_id = $1",
}


def cache_of(house: House, worker: int = 0) -> Cache:
    return house.workers[worker].worker._cache


async def moved(house: House, home: Home) -> None:
    """Makes everybody look at the tailnet, as after a change of everything."""
    await house.sql(
        "with head as (update tailnets set version = version + 1 where id = $1 returning *)"
        " insert into changes (tailnet_id, version, cluster_id, process, at, nodes, users, settings, policy)"
        " select id, version, cluster_id, 0, now(), (select array_agg(id) from nodes where tailnet_id = $1),"
        " '{}', true, true from head",
        home.id,
    )


async def test_snapshots_dropped_by_a_failover_come_back_for_those_who_are_connected(
    database_dsn: str,
) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as alice, house.client(acme, 0) as bob:
            await alice.join(acme.key)
            await bob.join(acme.key)
            await house.settled(acme, alice, bob)
            cache_of(house)._drop_after_failover("another timeline")
            assert not cache_of(house).tailnets
            await nodes.rename_node(house.tool, TESTER, acme.id, alice.netmap.node.id, "after-the-failover")
            await house.settled(acme, alice, bob)
            assert alice.inbox.full_netmaps == 1, "the stream stayed open"


@pytest.mark.parametrize("by", ["the worker", "another process"])
async def test_what_changes_while_a_tailnet_is_first_read_is_not_missed(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Without the safety poll, which would find it a moment later."""
    monkeypatch.setattr(follower, "POLL_SECONDS", 3600.0)
    has_read, may_go_on = asyncio.Event(), asyncio.Event()
    read = Cache._read

    async def slowly(cache: Cache, feed: FeedTx, tailnets: Collection[TailnetId]) -> Any:
        result = await read(cache, feed, tailnets)
        has_read.set()
        await may_go_on.wait()
        return result

    monkeypatch.setattr(Cache, "_read", slowly)
    async with service(database_dsn, workers=2) as house:
        acme, (worker, other) = await house.tailnet("acme"), [running.worker for running in house.workers]
        await until(lambda: worker._listener.is_listening)
        async with house.client(acme, 0) as alice:
            joining = asyncio.create_task(alice.join(acme.key))
            await has_read.wait()
            heard = note_heard(worker, acme, by)
            writer = worker if by == "the worker" else other
            await nodes.rename_node(writer._database, TESTER, acme.id, NodeId(1), "renamed-meanwhile")
            await heard.wait()
            assert acme.id in worker._follower._due, "else only luck (a later change) would tell"
            may_go_on.set()
            await joining
            await house.settled(acme, alice)


def note_heard(worker: Worker, home: Home, by: str) -> asyncio.Event:
    """Set when the worker's follower is told of a change of its own, or of another process's."""
    heard = asyncio.Event()
    name = "ring" if by == "the worker" else "hear"
    tell = getattr(worker._follower, name)

    def told(tailnets: Any) -> None:
        tell(tailnets)
        if home.id in tailnets:
            heard.set()

    setattr(worker._follower, name, told)
    return heard


async def test_a_tailnet_that_nobody_is_connected_to_is_forgotten(database_dsn: str) -> None:
    async with service(database_dsn) as house:
        acme, idle = await house.tailnet("acme"), await house.tailnet("idle")
        follower = house.workers[0].worker._follower
        async with house.client(acme) as staying, house.client(idle) as leaving:
            await staying.join(acme.key)
            await leaving.join(idle.key)
            await leaving.close()
            await until(lambda: _sessions(house, 1))
            later = asyncio.get_running_loop().time()
            follower.evict_idle(later)
            assert set(cache_of(house).tailnets) == {acme.id, idle.id}
            follower.evict_idle(later + IDLE_SECONDS)
            assert set(cache_of(house).tailnets) == {acme.id}
            assert cache_of(house).find_node(leaving.identity.node_key) is None
            await leaving.start_polling()
            await house.settled(idle, leaving)
            await house.settled(acme, staying)


async def _sessions(house: House, count: int) -> bool:
    return len(house.workers[0].worker._hub) == count


@pytest.mark.parametrize("what", UNREADABLE)
async def test_a_tailnet_that_cannot_be_read_is_refused_and_the_others_are_served(
    database_dsn: str, what: str
) -> None:
    """F-41. Its clients are told to come again, and do so by themselves once it is repaired."""
    async with service(database_dsn, workers=2) as house:
        bad, good = await house.tailnet("bad"), await house.tailnet("good")
        async with (
            house.client(bad, 0) as victim,
            house.client(good, 0) as alice,
            house.client(good, 1) as bob,
        ):
            await victim.join(bad.key)
            await alice.join(good.key)
            await bob.join(good.key)
            table = "nodes" if "node" in what else "tailnet_settings"
            kept = await house.sql(f"select * from {table} where tailnet_id = $1", bad.id)
            await house.sql(UNREADABLE[what], bad.id)
            await moved(house, bad)

            async def is_refused() -> bool:
                return any(isinstance(t, UnexpectedStatus) and t.status == 503 for t in victim.troubles)

            await until(is_refused)
            await alice.update_endpoints([alice.mark.endpoint(4711)])
            await house.settled(good, alice, bob)
            async with house.client(good, 0) as newcomer:
                await newcomer.join(good.key)
                await house.settled(good, alice, bob, newcomer)
            assert all(running.runs for running in house.workers)
            columns = {"a node": "hostinfo", "the settings": "settings"}
            column = columns.get(what, "policy")
            await house.sql(
                f"update {table} set {column} = $2 where tailnet_id = $1", bad.id, kept[0][column]
            )
            await moved(house, bad)
            await house.settled(bad, victim)


async def test_a_fault_that_nobody_thought_of_stays_with_its_tailnet(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(database_dsn) as house:
        bad, good = await house.tailnet("bad"), await house.tailnet("good")
        cache = cache_of(house)
        honest = cache.catch_up

        async def faulty(tailnets: set[TailnetId]) -> object:
            if bad.id in tailnets:
                raise ZeroDivisionError
            return await honest(tailnets)

        async with house.client(bad) as victim, house.client(good) as alice, house.client(good) as bob:
            await victim.join(bad.key)
            await alice.join(good.key)
            await bob.join(good.key)
            monkeypatch.setattr(cache, "catch_up", faulty)
            await asyncio.gather(
                nodes.rename_node(house.tool, TESTER, bad.id, victim.netmap.node.id, "x"),
                nodes.rename_node(house.tool, TESTER, good.id, alice.netmap.node.id, "y"),
            )
            await house.settled(good, alice, bob)
            monkeypatch.undo()
            await house.settled(bad, victim)


async def follow_up(client: Client) -> tuple[str, "asyncio.Task[object]"]:
    """A login that waits for a person; its id, and the client's request that is parked until then."""
    response = await client.register()
    task = asyncio.create_task(client.register(followup=response.auth_url))
    return response.auth_url.rpartition("/")[2], task


async def are_parked(house: House, worker: int) -> None:
    async def parked() -> bool:
        return len(house.workers[worker].worker._logins) == 1

    await until(parked)


async def test_an_approval_wakes_the_device_that_waits_at_another_worker(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the doorbell alone: the poll is far away."""
    monkeypatch.setattr("headscale_saas.serve.LOGIN_POLL_SECONDS", 3600.0)
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 1) as device:
            login, answer = await follow_up(device)
            await are_parked(house, 1)
            bell = Doorbell(house.workers[0].database.address)
            await logins.approve_login(
                house.workers[0].database, policy_of, TESTER, acme.id, acme.user, login
            )
            bell.ring_logins()
            await asyncio.wait_for(answer, 5)
            await bell.close()
            await device.start_polling()
            await house.settled(acme, device)


async def test_an_approval_is_found_without_a_doorbell_too(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 1) as device, house.client(acme, 1) as stranger:
            login, answer = await follow_up(device)
            await are_parked(house, 1)
            await logins.approve_login(house.tool, policy_of, TESTER, acme.id, acme.user, login)
            await asyncio.wait_for(answer, 5)
            rejected, refusal = await follow_up(stranger)
            await are_parked(house, 1)
            await logins.reject_login(house.tool, TESTER, rejected, "not today")
            with pytest.raises(Refused, match="not today"):
                await asyncio.wait_for(refusal, 5)


async def test_the_command_line_rings_for_those_who_wait(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headscale_saas.serve.LOGIN_POLL_SECONDS", 3600.0)
    async with service(database_dsn) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme) as device:
            login, answer = await follow_up(device)
            await are_parked(house, 0)
            config = Path(house.config.state_dir) / "config.yaml"
            config.write_text(f"database: {{url: '{database_dsn}'}}\nstate_dir: {house.config.state_dir}\n")
            await ran("-c", str(config), "-t", "acme", "auth", "register", "-u", "alice", "--auth-id", login)
            await asyncio.wait_for(answer, 5)


async def ran(*words: str) -> None:
    """One command in a process of its own, which succeeds."""
    code = "import sys; from headscale_saas.cli import main; sys.exit(main())"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *words, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (out, err)


COUNTED = (
    "connections",
    "map_sessions",
    "noise_handshakes_total",
    "registrations_total",
    "doorbells_total",
    "catch_up_seconds_count",
    "tailnets_cached",
)


def total_of(name: str, text: str) -> float:
    """The sum over all labels."""
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name}{{"))


async def test_what_happens_is_counted(database_dsn: str) -> None:
    async with service(database_dsn) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme) as alice, house.client(acme) as stranger:
            await alice.join(acme.key)
            with pytest.raises(Refused):
                await stranger.register("hskey-auth-no-such-key")

            async def counted() -> bool:
                text = house.workers[0].worker._metrics_text().decode()
                return all(total_of(f"headscale_{name}", text) > 0 for name in COUNTED)

            await until(counted)
