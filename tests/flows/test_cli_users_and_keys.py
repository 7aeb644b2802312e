"""`users`, `preauthkeys`, `apikeys`: every command against a real database."""

import re
import time
from pathlib import Path

import pytest
from tests.command_line import CommandLine, with_a_tailnet

DAY = 86400


@pytest.fixture
def cli(database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The default tailnet on a fresh database."""
    return with_a_tailnet(database_dsn, tmp_path, capsys)


def test_a_user_is_created_listed_renamed_and_destroyed(cli: CommandLine) -> None:
    assert cli.ok("users create alice") == "User created"
    assert cli.ok("user new bob -d Bob -e bob@example.com -p https://example.com/bob.png") == "User created"
    assert [row["Username"] for row in cli.table("users list")] == ["alice", "bob"]
    assert cli.ok("users rename -n alice -r ann") == "User renamed"
    assert cli.ok("users mv -i 2 --new-name ben") == "User renamed"
    assert [user["name"] for user in cli.json("users ls")] == ["ann", "ben"]
    assert cli.ok("users destroy -n ben --force") == "User destroyed"
    assert cli.ok("users delete -i 1 --force") == "User destroyed"
    assert cli.json("users list") == []
    assert cli.table("users list") == []


def test_users_have_the_columns_and_the_json_of_headscale(cli: CommandLine) -> None:
    made = cli.json("users", "create", "bob", "-d", "Bob B.", "-e", "bob@example.com")
    assert {name: value for name, value in made.items() if name != "created_at"} == {
        "id": 1,
        "name": "bob",
        "display_name": "Bob B.",
        "email": "bob@example.com",
    }
    assert abs(made["created_at"]["seconds"] - time.time()) < 60
    (row,) = cli.table("users list")
    assert list(row) == ["ID", "Name", "Username", "Email", "Created"]
    assert (row["ID"], row["Name"], row["Username"], row["Email"]) == (
        "1",
        "Bob B.",
        "bob",
        "bob@example.com",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["Created"])


def test_users_are_found_by_name_then_email_then_id(cli: CommandLine) -> None:
    cli.ok("users create alice -e alice@example.com")
    cli.ok("users create bob -e bob@example.com")

    def found(flags: str) -> list[str]:
        return [user["name"] for user in cli.json(f"users list {flags}")]

    assert found("-i 1") == ["alice"]
    assert found("-e bob@example.com") == ["bob"]
    assert found("-n bob -i 1") == ["bob"]
    assert found("--name nobody") == []


def test_what_users_refuse(cli: CommandLine) -> None:
    cli.ok("users create alice")
    assert "user already exists" in cli.fails("users create alice")
    assert "--name or --identifier flag is required" in cli.fails("users destroy")
    assert "--name or --identifier flag is required" in cli.fails("users rename -r x")
    assert "user not found" in cli.fails("users destroy -i 9 --force")
    assert "user not found" in cli.fails("users destroy -n nobody --force")
    assert "user not found" in cli.fails("users rename -i 0 -r x")
    assert cli.fails("users", "create", "carol", "-p", "not a URL")
    assert [user["name"] for user in cli.json("users list")] == ["alice"]


def test_destroying_asks_first(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("users create alice")
    for answer, says in [("n", "User not destroyed"), ("", "User not destroyed"), ("SURE", "User destroyed")]:
        monkeypatch.setattr("sys.stdin.readline", lambda answer=answer: f"{answer}\n", raising=False)
        said = cli("users destroy -i 1")
        assert (said.status, said.out) == (0, f"{says}\n")
        assert said.err.startswith("Do you want to remove the user")
        assert said.err.endswith("[y/n] ")
    assert cli.json("users list") == []


def test_an_auth_key_is_printed_alone_and_listed_masked(cli: CommandLine) -> None:
    cli.ok("users create alice")
    key = cli.ok("preauthkeys create -u 1 --reusable -e 24h")
    assert re.fullmatch(r"hskey-auth-[\w-]{12}-[\w-]{64}", key)
    (row,) = cli.table("preauthkeys list")
    assert list(row) == [
        "ID", "Key/Prefix", "Reusable", "Ephemeral", "Used", "Expiration", "Created", "Owner",
    ]  # fmt: skip
    assert row["Key/Prefix"] == key[:23] + "-***"
    assert (row["Reusable"], row["Ephemeral"], row["Used"], row["Owner"]) == (
        "true",
        "false",
        "false",
        "alice",
    )
    assert key[24:] not in cli.ok("preauthkeys list -o json")


def test_an_auth_key_has_the_json_of_headscale(cli: CommandLine) -> None:
    owner = cli.json("users create alice")
    made = cli.json("pre", "create", "-u", "1", "--ephemeral", "--tags", "tag:a,tag:b", "--tags", "tag:c")
    assert made["user"] == owner
    assert made["acl_tags"] == ["tag:a", "tag:b", "tag:c"]
    assert made["ephemeral"] is True
    assert "reusable" not in made
    assert abs(made["expiration"]["seconds"] - made["created_at"]["seconds"] - 3600) < 60
    (listed,) = cli.json("preauthkeys list")
    assert listed | {"key": made["key"]} == made


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("90d", 90 * DAY), ("1y", 365 * DAY), ("2w", 14 * DAY)]
)
def test_auth_keys_expire_in_the_units_of_prometheus(cli: CommandLine, text: str, seconds: int) -> None:
    cli.ok("users create alice")
    made = cli.json(f"preauthkeys create -u alice -e {text}")
    assert abs(made["expiration"]["seconds"] - made["created_at"]["seconds"] - seconds) < 60


def test_auth_keys_are_revoked_and_deleted_by_id(cli: CommandLine) -> None:
    cli.ok("users create alice")
    for _ in range(2):
        cli.ok("preauthkeys create -u 1")
    assert cli.ok("preauthkeys expire -i 1") == "Key expired"
    first, second = cli.json("preauthkeys list")
    assert first["expiration"]["seconds"] <= time.time() + 1 < second["expiration"]["seconds"]
    assert cli.ok("preauthkeys delete --id 1") == "Key deleted"
    assert cli.json("authkey rm -i 2") == {}
    assert cli.json("preauthkeys list") == []


def test_what_auth_keys_refuse(cli: CommandLine) -> None:
    cli.ok("users create alice")
    assert "tag" in cli.fails("preauthkeys create -u 1 --tags web")
    assert "user not found" in cli.fails("preauthkeys create -u 9")
    assert "looking up user" in cli.fails("preauthkeys create -u nobody")
    assert cli.fails("preauthkeys create")
    assert "parsing duration" in cli.fails("preauthkeys create -u 1 -e soon")
    assert cli.fails("preauthkeys expire") == "missing --id parameter"
    assert cli.fails("preauthkeys delete") == "missing --id parameter"
    assert "not found" in cli.fails("preauthkeys expire -i 9")
    assert "not found" in cli.fails("preauthkeys delete -i 9")
    assert cli.json("preauthkeys list") == []


def test_an_api_key_is_shown_once_and_listed_masked(cli: CommandLine) -> None:
    key = cli.ok("apikeys create")
    assert re.fullmatch(r"hskey-api-[\w-]{12}-[\w-]{64}", key)
    assert re.fullmatch(r"hskey-api-[\w-]{77}", cli.json("api c -e 1d"))
    first, second = cli.table("apikeys list")
    assert list(first) == ["ID", "Prefix", "Expiration", "Created"]
    assert (first["ID"], first["Prefix"], second["ID"]) == ("1", key[:22] + "-***", "2")
    listed = cli.json("apikeys ls")[0]
    assert abs(listed["expiration"]["seconds"] - listed["created_at"]["seconds"] - 90 * DAY) < 60


def test_api_keys_are_expired_and_deleted_by_id_or_prefix(cli: CommandLine) -> None:
    for _ in range(2):
        cli.ok("apikeys create")
    masked = cli.json("apikeys list")[1]["prefix"]
    assert cli.ok("apikeys expire -i 1") == "Key expired"
    assert cli.ok("apikeys", "expire", "-p", masked) == "Key expired"
    assert all(key["expiration"]["seconds"] <= time.time() + 1 for key in cli.json("apikeys list"))
    bare = masked.removeprefix("hskey-api-").removesuffix("-***")
    assert cli.ok("apikeys", "delete", f"--prefix={bare}") == "Key deleted"
    assert cli.ok("api remove -i 1") == "Key deleted"
    assert cli.json("apikeys list") == []


def test_what_api_keys_refuse(cli: CommandLine) -> None:
    for verb in ("expire", "delete"):
        assert cli.fails(f"apikeys {verb}") == "either --id or --prefix must be provided"
        assert cli.fails(f"apikeys {verb} -i 1 -p x") == "only one of --id or --prefix can be provided"
        assert "not found" in cli.fails(f"apikeys {verb} -i 9")
        assert "not found" in cli.fails(f"apikeys {verb} -p abcdefghijkl")
    assert "parsing duration" in cli.fails("apikeys create -e soon")
