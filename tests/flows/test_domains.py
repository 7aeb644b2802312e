"""The domains of a tailnet: an admin sets them, the policy in force has to hold with them."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.command_line import CommandLine, with_a_tailnet
from tests.registration import Home, never_resting, world
from tests.service import TESTER, service
from tests.store_world import ADMIN
from tests.waiting import until

from headscale_saas.actions import policies
from headscale_saas.actions.domains import MOST_DOMAINS, checked, set_domains
from headscale_saas.actions.policy_checks import check_policy
from headscale_saas.actions.settings import set_settings
from headscale_saas.actions.tailnets import show_tailnet
from headscale_saas.errors import Invalid, LimitReached, NotFound, Refused
from headscale_saas.tailnet.model import Settings, TailnetId

STAFF = """{
  "acls": [
    {"action": "accept", "src": ["user:*@example.com"], "dst": ["*:22"]},
  ],
}
"""
FOREIGN = "is not associated with this Tailnet and cannot be used in user:*@<domain> expressions"
GONE = (
    '{"acls": [], "tests": [{"src": "tag:test", "deny": ["100.64.0.1:22"]}], "tagOwners": {"tag:test": []}}'
)


async def domains(home: Home, name: str = "acme") -> tuple[str, ...]:
    return (await show_tailnet(home.db, name)).settings.domains


async def test_they_are_kept_in_order_as_a_version_with_an_audit_row(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        before = await home.version()
        await set_domains(home.db, ADMIN, home.id, ["example.org", "example.com", "example.org"])
        assert await domains(home) == ("example.com", "example.org")
        await set_domains(home.db, ADMIN, home.id, ["example.com", "example.org"])
        assert await home.version() == before + 1, "the same again is no version"
        await set_domains(home.db, ADMIN, home.id, [])
        assert await home.version() == before + 2
        noted = [row["domains"] for row in await home.audit("tailnet.domains")]
        both = ["example.com", "example.org"]
        assert noted == [{"from": [], "to": both}, {"from": both, "to": []}]


NO_DOMAINS = """
Example.com example.com. .com a..b -a.com a-.com a_b.com * *.example.com 192.0.2.1 7
bücher.example user@example.com
"""


@pytest.mark.parametrize("domain", [*NO_DOMAINS.split(), "", "a b", f"{'a' * 64}.com", "a." * 127 + "com"])
def test_what_is_no_domain(domain: str) -> None:
    with pytest.raises(Invalid, match="invalid domain"):
        checked(["example.com", domain])


async def test_their_number_is_bounded(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        many = [f"xn--{number}.example" for number in range(MOST_DOMAINS)]
        await set_domains(home.db, ADMIN, home.id, [*many, *many])
        with pytest.raises(LimitReached):
            await set_domains(home.db, ADMIN, home.id, [*many, "corp"])
        assert len(await domains(home)) == MOST_DOMAINS
        with pytest.raises(NotFound):
            await set_domains(home.db, ADMIN, TailnetId(99), [])


async def test_from_then_on_a_policy_may_name_no_other(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, other = await w.home(), await w.home("other")
        await check_policy(home.db, home.id, STAFF)
        await set_domains(home.db, ADMIN, home.id, ["example.org"])
        with pytest.raises(Invalid) as problem:
            await policies.set_policy(home.db, ADMIN, home.id, STAFF)
        assert str(problem.value) == f"line 3, column 34: [acls] example.com {FOREIGN}"
        await check_policy(other.db, other.id, STAFF)
        assert await domains(home, "other") == ()


async def test_a_change_that_the_policy_in_force_would_not_hold_with_is_refused(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        await set_domains(home.db, ADMIN, home.id, ["example.com"])
        await policies.set_policy(home.db, ADMIN, home.id, STAFF)
        before = await home.version()
        with pytest.raises(Refused) as problem:
            await set_domains(home.db, ADMIN, home.id, ["example.org"])
        assert problem.value.code == "policy_does_not_hold"
        assert f"does not hold with these domains: line 3, column 34: [acls] example.com {FOREIGN}" in str(
            problem.value
        )
        assert await domains(home) == ("example.com",)
        assert await home.version() == before
        await set_domains(home.db, ADMIN, home.id, ["example.com", "example.org"])
        await set_domains(home.db, ADMIN, home.id, [])


async def test_what_was_wrong_with_the_policy_before_does_not_hinder(database_dsn: str) -> None:
    """Its test does not hold since the last node went; that has nothing to do with domains."""
    async with world(database_dsn) as w:
        home = await w.home()
        await policies.set_policy(home.db, ADMIN, home.id, GONE, with_tests=False)
        with pytest.raises(Invalid):
            await check_policy(home.db, home.id, GONE)
        await set_domains(home.db, ADMIN, home.id, ["example.com"])
        assert await domains(home) == ("example.com",)


async def test_of_a_policy_and_domains_at_once_both_hold_or_one_is_refused(database_dsn: str) -> None:
    """On two processes, again and again: the pair that is stored is always one that was checked together."""
    async with world(database_dsn, processes=2) as w:
        for number in range(6):
            home = await w.home(f"acme{number}")
            await asyncio.gather(
                policies.set_policy(w.processes[0], ADMIN, home.id, STAFF),
                set_domains(w.processes[1], ADMIN, home.id, ["example.org"]),
                return_exceptions=True,
            )
            kept = await domains(home, f"acme{number}"), (await policies.get_policy(home.db, home.id)).text
            assert kept in ((("example.org",), ""), ((), STAFF))


async def test_in_a_tailnet_that_never_rests_they_are_set_all_the_same(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w:
        home = await w.home()
        async with never_resting(w.processes[1], home.id):
            for domain in ("a.example", "b.example", "c.example"):
                await set_domains(home.db, ADMIN, home.id, [domain])
        assert await domains(home) == ("c.example",)


async def test_the_configuration_does_not_take_them_away(database_dsn: str) -> None:
    """At each start it says what the default tailnet's settings are; of domains it knows nothing."""
    async with world(database_dsn) as w:
        home = await w.home()
        await set_domains(home.db, ADMIN, home.id, ["example.com"])
        await set_settings(home.db, ADMIN, home.id, Settings(display_name="Acme"))
        assert (await show_tailnet(home.db, "acme")).settings.display_name == "Acme"
        assert await domains(home) == ("example.com",)


async def test_every_process_hears_of_them(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, 0) as alice, house.client(acme, 1) as bob:
            for client in (alice, bob):
                await client.join(acme.key)
            await house.settled(acme, alice, bob)
            await set_domains(house.tool, TESTER, acme.id, ["example.com"])

            async def known() -> bool:
                caches = [running.worker._cache for running in house.workers]
                snapshots = [cache.get(acme.id) for cache in caches]
                found = [it.state.tailnet.settings.domains for it in snapshots if it]
                return found == [("example.com",)] * 2

            await until(known)
            await house.settled(acme, alice, bob)
            assert [client.inbox.full_netmaps for client in (alice, bob)] == [1, 1]


# ── The command ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cli(database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return with_a_tailnet(database_dsn, tmp_path, capsys)


def test_they_are_set_and_shown(cli: CommandLine) -> None:
    assert cli.ok("tailnets update default --domains example.org,example.com") == "Tailnet updated"
    assert cli.json("tailnets show default")["domains"] == ["example.com", "example.org"]
    assert [row["Domains"] for row in cli.table("tailnets show default")][:2] == [
        "example.com",
        "example.org",
    ]
    assert "domains" not in cli.json("tailnets", "set", "default", "--domains", "")
    both = cli.json("tailnet set default --domains a.example --domains b.example")
    assert both["domains"] == ["a.example", "b.example"]


def test_what_the_command_refuses(cli: CommandLine) -> None:
    policy = cli.config.parent / "policy.hujson"
    policy.write_text(STAFF)
    cli.ok("policy", "set", "-f", str(policy))
    assert "nothing to change" in cli.fails("tailnets update default")
    assert cli.fails("tailnets update default --domains Example.com").startswith(
        "invalid domain 'Example.com'"
    )
    assert cli.fails("tailnets update none --domains a.example") == 'tailnet "none" not found'
    said = cli("tailnets update default --domains example.org -o json-line")
    assert (said.status, said.out) == (1, "")
    assert f"line 3, column 34: [acls] example.com {FOREIGN}" in json.loads(said.err)["error"].replace(
        "\\u003c", "<"
    )
    assert "domains" not in cli.json("tailnets show default")
