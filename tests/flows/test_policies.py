"""Policies are set whole or not at all, have versions and authors, and belong to one tailnet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from tests.registration import Device, Home, World, never_resting, world
from tests.store_world import ADMIN, a_node, a_user, put_node, put_user
from tests.waiting import until

from headscale_saas.actions import logins, nodes, policies, report
from headscale_saas.actions.approvals import policy_of
from headscale_saas.actions.outcome import Declined, Pending
from headscale_saas.actions.policies import Policy, Put, etag_of
from headscale_saas.actions.policy_checks import check_policy
from headscale_saas.errors import Conflict, Error, Invalid, LimitReached, NotFound, Refused
from headscale_saas.policy.language import PolicyError
from headscale_saas.store import policies as policy_rows
from headscale_saas.store.directory import NodeRef
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.maps import MapRequest
from headscale_saas.tailnet.model import Actor, Node, NodeId, Version

OPEN = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}\n'
CLOSED = '{"acls": []} // nobody\n'
WRONG = '{"acls": [\n  {"action": "deny", "src": ["*"], "dst": ["*:*"]}]}\n'


async def put(home: Home, text: str, **how: Any) -> Put:
    return await policies.set_policy(home.db, ADMIN, home.id, text, **how)


async def in_force(home: Home) -> Policy:
    return await policies.get_policy(home.db, home.id)


async def numbers(home: Home) -> list[int]:
    return [version.number for version in await policies.history(home.db, home.id)]


async def refused(kind: type[Error], verb: Callable[[], Awaitable[object]]) -> Error:
    with pytest.raises(kind) as problem:
        await verb()
    return problem.value


async def test_a_tailnet_begins_without_a_policy(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        policy = await in_force(home)
        assert (policy.text, policy.version, policy.etag) == ("", None, etag_of(""))
        assert await policies.history(home.db, home.id) == []


async def test_versions_say_who_when_and_why(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        before = await home.version()
        first = await put(home, OPEN, comment="the beginning")
        second = await policies.set_policy(
            home.db, Actor(kind="file", name="/etc/acl.hujson", origin="host1"), home.id, CLOSED
        )
        assert await home.version() == before + 2
        assert (await in_force(home)) == second.policy
        newest, oldest = await policies.history(home.db, home.id)
        assert (oldest, newest) == (first.policy.version, second.policy.version)
        assert (oldest.number, oldest.author, oldest.comment) == (1, ADMIN, "the beginning")
        assert (newest.number, newest.author.kind, newest.author.name) == (2, "file", "/etc/acl.hujson")
        assert newest.etag == second.policy.etag == etag_of(CLOSED)
        assert newest.size == len(CLOSED)
        assert oldest.at < newest.at
        noted = await home.audit("policy.set")
        assert [row["target"] for row in noted] == ["policy 1", "policy 2"]
        assert noted[0]["comment"] == "the beginning"
        assert noted[0]["etag"] == first.policy.etag


async def test_the_same_text_again_is_no_version(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, OPEN)
        before = await home.version()
        again = await put(home, OPEN, comment="again")
        assert not again.is_new
        assert again.policy == await in_force(home)
        assert await numbers(home) == [1]
        assert await home.version() == before
        assert not (await put(await w.home("other"), "")).is_new


async def test_an_empty_text_takes_the_policy_away(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, CLOSED)
        gone = await put(home, "")
        assert gone.is_new
        assert (await in_force(home)).text == ""
        assert await numbers(home) == [2, 1]
        async with home.db.feed([home.id]) as feed:
            assert await feed.fetchval("select policy is null from tailnet_settings")


async def test_what_is_wrong_is_refused_whole(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, OPEN)
        before = await home.version()
        problem = await refused(PolicyError, lambda: put(home, WRONG))
        assert 'action="deny" is not supported' in str(problem)
        assert str(problem).startswith("line 2, column ")
        await refused(PolicyError, lambda: check_policy(home.db, home.id, WRONG))
        await refused(PolicyError, lambda: put(home, "{} // no line end"))
        await refused(PolicyError, lambda: put(home, " "))
        await refused(LimitReached, lambda: put(home, "{" + " " * (1 << 20) + "}"))
        await refused(Invalid, lambda: put(home, '{} // "\x00"\n'))
        await refused(Invalid, lambda: put(home, '{} // "\ud800"\n'))
        await refused(Invalid, lambda: put(home, CLOSED, comment="x" * 501))
        await refused(Invalid, lambda: put(home, CLOSED, comment="\x1b[2J"))
        assert (await in_force(home)).text == OPEN
        assert await home.version() == before
        await check_policy(home.db, home.id, CLOSED)
        assert (await in_force(home)).text == OPEN


async def test_whoever_expects_another_policy_is_told(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, OPEN, expected_etag=etag_of(""))
        problem = await refused(Conflict, lambda: put(home, CLOSED, expected_etag=etag_of("")))
        assert problem.code == "policy_changed"
        await refused(Conflict, lambda: put(home, OPEN, expected_etag=etag_of(CLOSED)))
        await put(home, CLOSED, expected_etag=etag_of(OPEN))
        assert await numbers(home) == [2, 1]


async def test_of_many_at_once_one_is_as_expected(database_dsn: str) -> None:
    """On two processes, each with its own text for the same version."""
    async with world(database_dsn, processes=2) as w:
        home = await w.home()
        await put(home, OPEN)

        async def change(number: int) -> str | None:
            text = f"{CLOSED}// {number}\n"
            try:
                await policies.set_policy(
                    w.processes[number % 2], ADMIN, home.id, text, expected_etag=etag_of(OPEN)
                )
            except Conflict:
                return None
            return text

        (winner,) = [text for text in await asyncio.gather(*map(change, range(8))) if text]
        assert (await in_force(home)).text == winner
        assert await numbers(home) == [2, 1]


async def test_many_at_once_have_versions_without_gaps(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home = await w.home()
        texts = [f"{CLOSED}// {number}\n" for number in range(12)]
        sets = (
            policies.set_policy(w.processes[number % 2], ADMIN, home.id, text)
            for number, text in enumerate(texts)
        )
        put_ = await asyncio.gather(*sets)
        assert sorted(one.policy.version.number for one in put_ if one.policy.version) == list(range(1, 13))
        assert (await in_force(home)).text == max(
            put_, key=lambda one: one.policy.version.number if one.policy.version else 0
        ).policy.text


async def test_in_a_tailnet_that_never_rests_a_policy_is_set_all_the_same(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home = await w.home()
        async with never_resting(w.processes[1], home.id):
            for number in range(5):
                await put(home, f"{CLOSED}// {number}\n")
        assert await numbers(home) == [5, 4, 3, 2, 1]


async def test_versions_are_compared(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, '{\n  "acls": [],\n}\n')
        await put(home, '{\n  "acls": [],\n  "ssh": [],\n}\n')
        first, second = [await policies.get_version(home.db, home.id, number) for number in (1, 2)]
        hunk = '@@ -1,3 +1,4 @@\n {\n   "acls": [],\n+  "ssh": [],\n }\n'
        assert await policies.diff(first, second) == f"--- version 1\n+++ version 2\n{hunk}"
        assert await policies.diff(first, second.text) == f"--- version 1\n+++ new\n{hunk}"
        assert await policies.diff(second, second) == ""
        for number in (3, 0, -1, 1 << 80):
            await refused(NotFound, lambda n=number: policies.get_version(home.db, home.id, n))


async def test_an_older_version_is_brought_back(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, OPEN)
        await put(home, CLOSED)
        back = await policies.rollback(home.db, ADMIN, home.id, 1, comment="too closed")
        assert back.policy.version
        assert (back.policy.version.number, back.policy.version.rolled_back_from) == (3, 1)
        assert (await in_force(home)).text == OPEN
        assert (await home.audit("policy.set"))[-1]["rolled_back_from"] == 1
        assert not (await policies.rollback(home.db, ADMIN, home.id, 3)).is_new
        await refused(NotFound, lambda: policies.rollback(home.db, ADMIN, home.id, 9))


async def test_old_versions_are_forgotten_by_number_and_by_size(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        monkeypatch.setattr(policy_rows, "KEPT", 3)
        for number in range(5):
            await put(home, f"{CLOSED}// {number}\n")
        assert await numbers(home) == [5, 4, 3]
        await refused(NotFound, lambda: policies.get_version(home.db, home.id, 2))
        monkeypatch.setattr(policy_rows, "KEPT_BYTES", 100)
        await put(home, f"{CLOSED}//{'x' * 60}\n")
        assert await numbers(home) == [6]
        await put(home, f"{CLOSED}//{'x' * 500}\n")
        assert await numbers(home) == [7]


async def test_what_comes_first_in_the_same_transaction_counts(database_dsn: str) -> None:
    """Writes that wait for the same lane share a version."""
    async with world(database_dsn) as w:
        home = await w.home()
        is_running, may_end = asyncio.Event(), asyncio.Event()

        async def occupy(tx: TailnetTx) -> None:
            is_running.set()
            await may_end.wait()

        async def eve_is_anna(tx: TailnetTx) -> None:
            await put_user(tx, a_user(9, email="anna@"))

        async def both_wait() -> bool:
            return home.db.waiting == 2

        text = '{"acls": [{"action": "accept", "src": ["anna@"], "dst": ["*:*"]}]}'
        async with asyncio.TaskGroup() as group:
            group.create_task(home.db.write(home.id, ADMIN, occupy))
            await is_running.wait()
            group.create_task(home.db.write(home.id, ADMIN, eve_is_anna))
            setting = group.create_task(refused(Invalid, lambda: put(home, text)))
            await until(both_wait)
            may_end.set()
        assert "multiple users found" in setting.result().message


async def test_without_its_tests_a_policy_still_has_to_be_clear(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await home.db.write(home.id, ADMIN, lambda tx: put_user(tx, a_user(9, email="anna@")))
        text = '{"acls": [{"action": "accept", "src": ["anna@"], "dst": ["*:*"]}]}'
        problem = await refused(Invalid, lambda: put(home, text, with_tests=False))
        assert "multiple users found" in problem.message
        assert (await in_force(home)).text == ""


async def test_two_tailnets_have_nothing_of_each_others_policies(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        ours, theirs = await w.home("ours"), await w.home("theirs")
        await put(ours, OPEN)
        await put(ours, CLOSED)
        await put(theirs, CLOSED, expected_etag=etag_of(""))
        assert (await numbers(ours), await numbers(theirs)) == ([2, 1], [1])
        await refused(NotFound, lambda: policies.rollback(theirs.db, ADMIN, theirs.id, 2))
        await put(theirs, "")
        assert (await in_force(ours)).text == CLOSED
        async with ours.db.read(ours.id) as tx:
            texts = await tx.fetch("select tailnet_id, text from policy_versions order by number")
        assert [tuple(row) for row in texts] == [(ours.id, OPEN), (ours.id, CLOSED)]


async def test_a_version_never_changes(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, OPEN)
        for column in ("text", "actor", "number", "cluster_id"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await home.db.write(
                    home.id, ADMIN, lambda tx, c=column: tx.execute(f"update policy_versions set {c} = {c}")
                )


# ── What a policy decides about writes ──────────────────────────────────────────────────────────────────────

APPROVERS = """{
  "tagOwners": {"tag:router": ["anna@"], "tag:web": ["tag:router"]},
  "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:router"]}, "exitNode": ["tag:router"]},
}
"""
ROUTES = ("0.0.0.0/0", "10.1.0.0/16", "192.168.0.0/24", "::/0")


async def test_routes_that_were_advertised_are_approved_by_a_new_policy(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        router = a_node(1, tags=("tag:router",), hostinfo=Hostinfo(routable_ips=ROUTES))
        known = a_node(2, tags=("tag:router",), approved_routes=("192.168.9.0/24",))
        other = a_node(3, tags=("tag:other",), hostinfo=Hostinfo(hostname='"RoutableIPs"'))
        for node in (router, known, other):
            await home.db.write(home.id, ADMIN, lambda tx, node=node: put_node(tx, node))
        put_ = await put(home, APPROVERS)
        assert put_.approved == (NodeId(1),)
        assert (await home.node(router)).approved_routes == ("0.0.0.0/0", "10.1.0.0/16", "::/0")
        assert (await home.node(known)).approved_routes == ("192.168.9.0/24",)
        (noted,) = await home.audit("node.approve_routes")
        assert (noted["target"], noted["policy"]) == ("node 1", 1)
        assert (await put(home, CLOSED)).approved == ()
        assert "10.1.0.0/16" in (await home.node(router)).approved_routes


async def test_no_policy_approves_routes_to_the_addresses_of_others(database_dsn: str) -> None:
    """An approver of everything could otherwise draw the packets for another node to his own."""
    async with world(database_dsn) as w:
        home = await w.home()
        advertised = ("100.64.0.1/32", "100.64.0.0/10", "127.0.0.0/8", "10.1.0.0/16", "fd7a:115c:a1e0::2/128")
        router = a_node(1, tags=("tag:router",), hostinfo=Hostinfo(routable_ips=advertised))
        await home.db.write(home.id, ADMIN, lambda tx: put_node(tx, router))
        await put(home, APPROVERS.replace('"10.0.0.0/8"', '"::/0": ["tag:router"], "0.0.0.0/0"'))
        assert (await home.node(router)).approved_routes == ("10.1.0.0/16",)


async def test_the_policy_in_force_decides_within_the_transaction(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()

        async def may(tag: str) -> bool | None:
            async with home.db.read(home.id) as tx:
                approvals = await policy_of(tx)
                return None if approvals is None else approvals.may_have_tags(None, ["tag:router"], [tag])

        assert await may("tag:web") is None
        await put(home, APPROVERS)
        assert await may("tag:web")
        assert not await may("tag:other")
        await put(home, CLOSED)
        assert await may("tag:web") is False


async def log_in(w: World, home: Home, device: Device, tags: tuple[str, ...]) -> Node:
    """By a person's approval, with `--advertise-tags`."""
    wanted = Hostinfo(hostname=device.hostname, request_tags=tags)
    pending = await device.register(w.db, hostinfo=wanted)
    assert isinstance(pending, Pending)
    actor = Actor(kind="user", name="anna")
    return await logins.approve_login(w.db, policy_of, actor, home.id, home.anna, pending.login_id)


async def test_a_person_takes_the_tags_she_owns(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, APPROVERS)
        assert (await log_in(w, home, Device(), ("tag:router",))).tags == ("tag:router",)
        assert (await log_in(w, home, Device(), ("tag:web",))).tags == ("tag:web",)
        for tags in (("tag:other",), ("tag:router", "tag:other")):
            problem = await refused(Refused, lambda tags=tags: log_in(w, home, Device(), tags))
            assert "are invalid or not permitted" in problem.message
        await put(home, CLOSED)
        await refused(Refused, lambda: log_in(w, home, Device(), ("tag:router",)))


async def test_a_later_login_gives_the_tags_that_it_asks_for(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        await put(home, APPROVERS)
        node = await log_in(w, home, device, ("tag:router",))
        for tags in (("tag:web",), ("tag:router", "tag:web"), ("tag:router",)):
            device.rotate()
            again = await log_in(w, home, device, tags)
            assert (again.id, again.tags) == (node.id, tags)


async def test_a_key_with_tags_gives_those_that_its_own_own(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, APPROVERS)

        async def join(*wanted_tags: str, **key: Any) -> object:
            device, text = Device(), await home.key(**key)
            wanted = Hostinfo(hostname=device.hostname, request_tags=wanted_tags)
            outcome = await device.register(w.db, text, hostinfo=wanted)
            return outcome if isinstance(outcome, Declined) else outcome.node.tags  # type: ignore[union-attr]

        router = {"tags": ["tag:router"]}
        assert await join(**router) == ("tag:router",)
        assert await join("tag:web", **router) == ("tag:web",)
        assert isinstance(await join("tag:router", tags=["tag:web"]), Declined)
        assert isinstance(await join("tag:other", **router), Declined)
        assert isinstance(await join("tag:router"), Declined)  # anna's key has no tags


async def test_routes_are_approved_when_a_node_joins_and_when_it_advertises_more(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await put(home, APPROVERS)
        device = Device()
        told = Hostinfo(hostname=device.hostname, routable_ips=("10.1.0.0/16", "192.168.0.0/24"))
        node = await device.join(w.db, await home.key(tags=["tag:router"]), hostinfo=told)
        assert node.approved_routes == ("10.1.0.0/16",)
        ref = NodeRef(
            tailnet=home.id,
            node=node.id,
            machine_key=device.machine_key,
            node_key=device.node_key,
            version=Version(0),
        )
        told = Hostinfo(hostname=device.hostname, routable_ips=ROUTES)
        await report.report(w.db, policy_of, ref, MapRequest(version=142, hostinfo=told))
        assert (await home.node(node)).approved_routes == ("0.0.0.0/0", "10.1.0.0/16", "::/0")


async def test_an_admin_gives_the_tags_that_the_policy_knows(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        node = await Device().join(w.db, await home.key())
        await put(home, APPROVERS)
        problem = await refused(
            Invalid, lambda: nodes.tag_node(w.db, policy_of, ADMIN, home.id, node.id, ["tag:other"])
        )
        assert problem.message == "requested tags [tag:other] are invalid or not permitted"
        assert (await nodes.tag_node(w.db, policy_of, ADMIN, home.id, node.id, ["tag:web"])).is_tagged


async def test_new_nodes_get_their_address_from_their_pool(database_dsn: str) -> None:
    pools = """{"tagOwners": {"tag:a": [], "tag:b": [], "tag:c": []}, "nodeAttrs": [
      {"target": ["tag:a"], "ipPool": ["100.81.0.0/16"]},
      {"target": ["tag:b"], "ipPool": ["100.82.0.8/32", "100.83.0.0/30"]},
    ]}
    """
    async with world(database_dsn) as w:
        home = await w.home()
        before = await Device().join(w.db, await home.key())
        await put(home, pools)

        async def joined(*tags: str) -> str:
            key = await home.key(tags=list(tags)) if tags else await home.key()
            return str((await Device().join(w.db, key)).ipv4)

        assert [await joined("tag:a") for _ in range(2)] == ["100.81.0.1", "100.81.0.2"]
        assert [await joined("tag:b") for _ in range(3)] == ["100.82.0.8", "100.83.0.1", "100.83.0.2"]
        full = await Device().register(w.db, await home.key(tags=["tag:b"]))
        assert isinstance(full, Declined)
        assert "no free address is left in 100.83.0.0/30" in full.message
        assert [await joined(), await joined("tag:c")] == ["100.64.0.2", "100.64.0.3"]
        assert str((await home.node(before)).ipv4) == "100.64.0.1"
