"""A release may be stricter than the one that took a policy: whose tailnet is not served is told before."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alembic.command
import psycopg
import pytest
from structlog.testing import capture_logs
from tests.command_line import CommandLine
from tests.registration import World, world
from tests.service import TESTER, service
from tests.store_world import ADMIN
from tests.waiting import until

from headscale_saas import founding
from headscale_saas.actions import policies
from headscale_saas.actions.stored_policies import MOST_TOLD, inspect
from headscale_saas.config import Config
from headscale_saas.errors import Unavailable
from headscale_saas.live import follower
from headscale_saas.store.migrate import SCHEMA_VERSION, migrate
from headscale_saas.swarm.replies import UnexpectedStatus
from headscale_saas.tailnet.model import TailnetId

OPEN = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}\n'
TOO_OLD = '{\n  "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],\n  "formerly": true,\n}\n'
REASON = 'line 3, column 3: unknown field: "formerly"'
NOT_SERVED = "policies are not understood by this release: these tailnets are not served until"


def took(dsn: str, name: str, text: str = TOO_OLD) -> None:
    """As a release did that found it right."""
    with psycopg.connect(dsn) as db:
        of_name = "tailnet_id = (select id from tailnets where name = %s)"
        db.execute(f"update tailnet_settings set policy = %s where {of_name}", [text, name])


async def homes(w: World, *names: str) -> None:
    for name in names:
        await w.home(name)


async def test_all_tailnets_are_looked_at_and_the_reason_has_its_place(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        await homes(w, "acme", "beta", "gone", "wide", "open")
        for name, text in {"acme": TOO_OLD, "gone": TOO_OLD, "wide": "", "open": OPEN}.items():
            took(database_dsn, name, text)
        found = inspect(database_dsn, seconds=60)
        assert (found.policies, found.refused, found.unchecked) == (3, 2, 0)
        assert [(one.name, one.line, one.column) for one in found.first] == [("acme", 3, 3), ("gone", 3, 3)]
        assert {one.reason for one in found.first} == {REASON}
        assert found.first[0].tailnet != found.first[1].tailnet


async def test_many_are_looked_at_within_a_time_and_the_first_are_told(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        await homes(w, "acme")
        with psycopg.connect(database_dsn) as db:
            db.execute(
                "insert into tailnets (name, cluster_id) select 't' || n, 1 from generate_series(1, 1200) n"
            )
            db.execute(
                "insert into tailnet_settings (tailnet_id, cluster_id, settings, policy)"
                " select id, 1, '{}', case id %% 2 when 0 then %s else %s || id || e'\\n' end from tailnets"
                " where name <> 'acme'",
                [TOO_OLD, f"{OPEN}// "],
            )
        found = inspect(database_dsn, seconds=60)
        assert (found.policies, found.refused, found.unchecked) == (1200, 600, 0)
        assert len(found.first) == MOST_TOLD
        clock = itertools.count()
        late = inspect(database_dsn, seconds=10, monotonic=lambda: float(next(clock)))
        assert late.policies + late.unchecked == 1200
        assert 0 < late.unchecked < 600, "what is known already takes no time"


def test_a_database_that_does_not_answer(database_dsn: str) -> None:
    with pytest.raises(Unavailable, match="stored policies cannot be read"):
        inspect(database_dsn.replace("@/", "@/no_such_"), seconds=60)


# ── The commands ────────────────────────────────────────────────────────────────────────────────────────────


def command_line(dsn: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    config = directory / "config.yaml"
    config.write_text(f"database:\n  url: {dsn}\nstate_dir: {directory}\n")
    return CommandLine(config, capsys)


def test_status_fails_with_the_tailnets_and_the_reasons(
    database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = command_line(database_dsn, tmp_path, capsys)
    cli.ok("clusters create 1 one")
    for name in ("default", "acme"):
        cli.ok(f"tailnets create {name}")
        took(database_dsn, name, OPEN)
    assert cli.ok("db status").endswith(": good")
    told = cli.json("db status")
    assert (told["policies"], told["policies_refused"], told["policies_unchecked"]) == (2, 0, 0)
    took(database_dsn, "acme")
    said = cli("db status")
    assert (said.status, said.err) == (1, "")
    first, *others = said.out.splitlines()
    assert first.endswith(": good"), "the schema"
    assert others[0].startswith(f"1 of 2 {NOT_SERVED}")
    assert others[1:] == [f"tailnet acme: {REASON}"]
    told = cli("db status -o json-line")
    assert told.status == 1
    assert '"name":"acme","line":3,"column":3' in told.out
    repaired = tmp_path / "policy.hujson"
    repaired.write_text(OPEN)
    assert cli.ok("policy", "set", "-f", str(repaired), "-t", "acme") == "Policy updated."
    assert cli.ok("db status").endswith(": good")


@pytest.fixture
def old_database(empty_database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of the first release, with a policy that this one does not understand."""
    upgrade = alembic.command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(alembic.command, "upgrade", lambda config, _to: upgrade(config, "0001"))
        migrate(empty_database_dsn)
    with psycopg.connect(empty_database_dsn) as db:
        db.execute("insert into clusters (cluster_id, name) values (1, 'one')")
        db.execute("insert into tailnets (name, cluster_id) values ('acme', 1)")
        db.execute(
            "insert into tailnet_settings (tailnet_id, cluster_id, settings, policy)"
            " select id, 1, '{}', %s from tailnets",
            [TOO_OLD],
        )
    return empty_database_dsn


def test_an_upgrade_is_warned_before_and_not_hindered(
    old_database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = command_line(old_database, tmp_path, capsys)
    said = cli("db status")
    assert said.status == 1
    assert said.out.startswith(
        f"schema 1, this release has {SCHEMA_VERSION}: run headscale db migrate\n1 of 1"
    )
    assert f"tailnet acme: {REASON}" in said.out
    said = cli("db migrate")
    assert (said.status, said.out) == (0, "Database migrated\n")
    warnings = said.err.splitlines()
    assert [line.partition(NOT_SERVED)[0] for line in warnings] == [
        "Warning: 1 of 1 ",
        f"Warning: tailnet acme: {REASON}",
    ], "once, not before and after"
    assert cli("db status").out.startswith(
        f"schema {SCHEMA_VERSION}, this release has {SCHEMA_VERSION}: good\n"
    )


# ── The server ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_start_says_so_and_goes_on(database_dsn: str, tmp_path: Path) -> None:
    config = Config.model_validate({"state_dir": str(tmp_path), "database": {"url": database_dsn}})
    founding.found(config, database_dsn)
    took(database_dsn, "default")
    with capture_logs() as lines:
        founding.found(config, database_dsn)
    (said,) = [line for line in lines if line["event"] == "policy_not_understood"]
    assert (said["log_level"], said["name"], said["reason"]) == ("error", "default", REASON)
    assert [line["count"] for line in lines if line["event"] == "tailnets_not_served"] == [1]


def not_served(lines: list[Any], home: TailnetId) -> list[tuple[str, str]]:
    found = [line for line in lines if line.get("tailnet") == home and "serv" in line["event"]]
    return [(line["event"], line.get("reason", "")) for line in found]


async def test_its_tailnet_is_closed_said_once_and_open_again_with_another_policy(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "REFUSED_SECONDS", 0.01)
    async with service(database_dsn) as house:
        acme, beta = await house.tailnet("acme"), await house.tailnet("beta")
        await policies.set_policy(house.tool, ADMIN, beta.id, OPEN)
        with capture_logs() as lines:
            async with house.client(acme) as alice, house.client(acme) as bob, house.client(beta) as other:
                for client in (alice, bob):
                    await client.register(acme.key)
                took(database_dsn, "acme")
                for client in (alice, bob):
                    client.poller.start()
                await other.join(beta.key)
                async with house.client(acme) as newcomer:
                    with pytest.raises(UnexpectedStatus, match="an admin has to set another one") as refusal:
                        await newcomer.register(acme.key)
                    assert "formerly" not in str(refusal.value), "what the policy says is for admins"

                async def many_were_refused() -> bool:
                    return len(alice.troubles) + len(bob.troubles) >= 6

                await until(many_were_refused)
                for client in (alice, bob):
                    assert client.inbox.full_netmaps == 0, "nobody is told of anybody"
                    assert {type(it) for it in client.troubles} == {UnexpectedStatus}
                    assert {it.status for it in client.troubles if isinstance(it, UnexpectedStatus)} == {503}
                assert not_served(lines, acme.id) == [
                    ("tailnet_not_served", f"the policy is not understood: {REASON}")
                ]
                await policies.set_policy(house.tool, TESTER, acme.id, OPEN)
                await house.settled(acme, alice, bob)
                assert not_served(lines, acme.id)[1:] == [("tailnet_served_again", "")]
                assert not_served(lines, beta.id) == []
