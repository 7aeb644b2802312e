"""`tailnets`, `clusters`, `db`, `health`; and that a tailnet knows nothing of its neighbour."""

import fcntl
import json
import re
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pytest
from tests.command_line import CommandLine

from headscale_saas.cli import connect


def command_line(dsn: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    config = directory / "config.yaml"
    config.write_text(
        f"database:\n  url: {dsn}\nstate_dir: {directory}\ndns:\n  base_domain: example.org\n"
        "cli:\n  timeout: 300ms\n"
    )
    return CommandLine(config, capsys)


@pytest.fixture
def cli(database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    cli = command_line(database_dsn, tmp_path, capsys)
    cli.ok("clusters create 1 one")
    return cli


def test_tailnets_are_created_listed_shown_and_deleted(cli: CommandLine) -> None:
    assert cli.ok("tailnets", "create", "acme", "-d", "Acme Inc.") == "Tailnet created"
    assert cli.json("tailnets new beta --base-domain beta.test")["base_domain"] == "beta.test"
    rows = cli.table("tailnets list")
    assert list(rows[0]) == ["ID", "Name", "Cluster", "Version", "Created"]
    assert [(row["Name"], row["Cluster"]) for row in rows] == [("acme", "1"), ("beta", "1")]
    shown = cli.json("tailnets show acme")
    assert (shown["display_name"], shown["base_domain"]) == ("Acme Inc.", "acme.example.org")
    assert cli.table("tailnet show acme")[0]["Prefixes"] == "100.64.0.0/10"
    assert cli.json("tailnets delete beta --force") == {"Result": "Tailnet deleted"}
    assert [tailnet["name"] for tailnet in cli.json("tailnets ls")] == ["acme"]


def test_what_tailnets_refuse(cli: CommandLine) -> None:
    cli.ok("tailnets create acme")
    assert cli.fails("tailnets create acme")
    assert cli.fails("tailnets create Not_A_Label")
    assert cli.fails("tailnets create beta --cluster 9")
    assert 'tailnet "beta" not found' in cli.fails("users list --tailnet beta")
    assert "not found" in cli.fails("tailnets show beta")
    assert "not found" in cli.fails("tailnets delete beta --force")


def test_clusters(cli: CommandLine) -> None:
    words = "clusters create 7 west --url https://west.example.com --region west --capacity 5"
    made = cli.json(words)
    assert {name: value for name, value in made.items() if name != "created_at"} == {
        "cluster_id": 7,
        "name": "west",
        "url": "https://west.example.com",
        "region": "west",
        "capacity": 5,
        "state": "active",
    }
    assert [row["ID"] for row in cli.table("clusters list")] == ["1", "7"]
    assert cli.fails(words)
    cli.ok("tailnets create acme --cluster 7")
    assert cli.json("tailnets list")[0]["cluster_id"] == 7


def test_a_cluster_is_described_later(cli: CommandLine) -> None:
    cli.ok("clusters create 2 cluster-2 --region east")
    changed = cli.json("clusters update 2 --name west --url https://west.example.com --capacity 5")
    assert [changed[what] for what in ("name", "url", "region", "capacity", "state")] == [
        "west",
        "https://west.example.com",
        "east",
        5,
        "active",
    ]
    assert cli.ok("clusters update 2 --state draining") == "Cluster updated"
    row = cli.table("clusters list")[1]
    assert (row["Name"], row["URL"], row["State"]) == ("west", "https://west.example.com", "draining")
    assert "cluster is draining" in cli.fails("tailnets create acme --cluster 2")
    cli.ok("clusters set 2 --state active")
    cli.ok("tailnets create acme --cluster 2")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("2 --name West", "DNS label"),
        ("2 --name one", "in use|taken|exists"),
        ("2 --url west.example.com", "https://"),
        ("2 --url https://", "https://"),
        ("2 --url https://[", "https://"),
        ("2 --capacity 9999999999", "capacity"),
        ("2 --state gone", "active, draining, down"),
        ("2", "nothing to change"),
        ("99999999999 --name x", "cluster not found"),
        ("3 --name x", "cluster not found"),
    ],
)
def test_what_a_cluster_cannot_be(cli: CommandLine, words: str, said: str) -> None:
    cli.ok("clusters create 2 west")
    assert re.search(said, cli.fails(f"clusters update {words}"))


def test_two_tailnets_know_nothing_of_each_other(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same names, the same ids, nothing shared, however the tailnet is named."""
    for name in ("acme", "beta"):
        cli.ok(f"tailnets create {name}")
    cli.ok("users create alice --tailnet acme")
    cli.ok("-t beta users create alice -d Beta")
    cli.ok("preauthkeys create -u 1 --tailnet=acme")
    cli.ok("apikeys create -t acme")
    assert [user["id"] for user in cli.json("users list -t acme")] == [1]
    assert "display_name" not in cli.json("users list -t acme")[0]
    monkeypatch.setenv("HEADSCALE_TAILNET", "beta")
    assert [user["display_name"] for user in cli.json("users list")] == ["Beta"]
    for nouns in ("preauthkeys", "apikeys", "nodes"):
        assert cli.json(f"{nouns} list") == []
    assert "not found" in cli.fails("preauthkeys delete -i 1")
    assert "not found" in cli.fails("apikeys delete -i 1")
    assert cli.ok("users destroy -i 1 --force") == "User destroyed"
    assert [user["name"] for user in cli.json("users list --tailnet acme")] == ["alice"]


def test_without_the_default_tailnet_it_says_which_is_missing(cli: CommandLine) -> None:
    assert 'tailnet "default" not found' in cli.fails("users list")


def test_the_default_tailnet_is_not_deleted(cli: CommandLine) -> None:
    cli.ok("tailnets create default")
    assert "is the default one (tailnet.name)" in cli.fails("tailnets delete default --force")
    assert cli.json("tailnets list")[0]["name"] == "default"
    assert 'tailnet "gone" not found' in cli.fails("tailnets delete gone --force")


def test_a_running_server_without_tailnets_answers_at_once(
    database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the default tailnet was deleted: the database is the one `serve` brought along."""
    found = urlsplit(database_dsn)
    monkeypatch.setattr(connect, "EMBEDDED", found.path.strip("/"))
    command_line(database_dsn, tmp_path, capsys).ok("clusters create 1 one")
    with psycopg.connect(database_dsn) as db:
        db.execute("update clusters set created_at = created_at - interval '1 minute'")
    (tmp_path / "postgres").mkdir()
    socket_dir = dict(parse_qsl(found.query))["host"]
    (tmp_path / "postgres/postmaster.pid").write_text(f"1\n\n\n\n{socket_dir}\n")
    cli = command_line("''", tmp_path, capsys)
    with (tmp_path / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        assert cli.ok("health") == ""
        assert cli.json("tailnets list") == []
        assert len(cli.json("clusters list")) == 1
        assert 'tailnet "default" not found' in cli.fails("users list")
        cli.ok("tailnets create default")
        assert cli.json("users list") == []
        assert time.monotonic() - began < 10


def test_health_is_an_exit_status(cli: CommandLine) -> None:
    assert cli.ok("health") == ""
    assert cli.json("health") == {"database_connectivity": True}
    broken = cli.config.read_text().replace("@/", "@/no_such_")
    cli.config.write_text(broken)
    said = cli("health -o json-line")
    assert (said.status, said.out) == (1, "")
    assert "there is no such database: database 'no_such_" in json.loads(said.err)["error"]


def test_a_database_is_migrated_and_says_what_it_has(
    empty_database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = command_line(empty_database_dsn, tmp_path, capsys)
    said = cli("db status")
    assert said.status == 1
    assert "run headscale db migrate" in said.out
    assert cli.fails("users list")
    assert cli.ok("db migrate") == "Database migrated"
    assert cli.ok("db migrate") == "Database migrated"
    assert cli.ok("db status").endswith(": good")
    status = cli.json("db status")
    assert status["schema"] == status["wanted"] > 0


def test_the_url_of_the_database_hides_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for dsn in ("postgresql://me:s3cret@db.example.com/hs", "postgresql:///hs?host=%2Ftmp&password=s3cret"):
        cli = command_line(dsn, tmp_path, capsys)
        assert "s3cret" not in cli.ok("db url")
        assert cli.ok("db url") == dsn.replace("s3cret", "***")
        assert cli.ok("db url --show-password") == dsn
