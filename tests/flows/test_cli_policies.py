"""`policy`: headscale's commands in its words, and versions."""

import asyncio
import io
import json
import re
from pathlib import Path

import pytest
from test_cli_nodes import put as put_nodes
from tests.command_line import CommandLine, with_a_tailnet
from tests.store_world import process

from headscale_saas.actions import policies, tailnets
from headscale_saas.tailnet.model import Actor, UserId

OPEN = '{\n  // everyone\n  "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],\n}\n'
CLOSED = '{\n  "acls": [], // nobody\n}\n'
WRONG = '{\n  "acls": [{"action": "deny"}],\n}\n'
BYPASS = "--bypass-grpc-and-access-database-directly"


@pytest.fixture
def cli(database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The default tailnet, and files with policies."""
    cli = with_a_tailnet(database_dsn, tmp_path, capsys)
    for name, text in {"open": OPEN, "closed": CLOSED, "wrong": WRONG, "empty": ""}.items():
        (tmp_path / name).write_text(text)
    return cli


def file(cli: CommandLine, name: str) -> str:
    return str(cli.config.parent / name)


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def put(cli: CommandLine, name: str, *words: str) -> str:
    return cli.ok("policy", "set", "-f", file(cli, name), *words)


def test_what_was_set_is_got_to_the_letter(cli: CommandLine) -> None:
    assert "acl policy not found" in cli.fails("policy get")
    assert put(cli, "open") == "Policy updated."
    assert cli("policy get").out == OPEN
    assert put(cli, "open") == "Policy unchanged."
    for line in ("policy put -f", "policy update --file"):
        cli.ok(*line.split(), file(cli, "closed"))
    for name in ("show", "view", "fetch"):
        assert cli(f"policy {name}").out == CLOSED
    assert cli("policy get --version 1").out == OPEN
    assert "there is no version 7" in cli.fails("policy get --version 7")


def test_headscales_flags_are_understood(cli: CommandLine) -> None:
    assert put(cli, "open", BYPASS, "--force") == "Policy updated."
    assert cli("policy", "get", "--bypass-server-and-access-database-directly").out == OPEN
    assert cli.ok("policy", "check", "-f", file(cli, "closed"), BYPASS) == "Policy is valid"
    assert cli.fails("policy set").startswith('required flag(s) "file" not set')
    assert cli.fails("policy check").startswith('required flag(s) "file" not set')


def test_a_policy_comes_from_stdin(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, OPEN.encode())
    assert cli.ok("policy set -f -") == "Policy updated."
    pipe(monkeypatch, WRONG.encode())
    assert "line 2, column 23" in cli.fails("policy check -f -")
    pipe(monkeypatch, b'{\n"\xff')
    assert cli.fails("policy set -f -") == "reading policy file: -: line 2, column 2: not UTF-8"
    pipe(monkeypatch, b" " * ((1 << 20) + 1))
    assert cli.fails("policy set -f -") == "reading policy file: -: larger than 1 MiB"
    assert cli("policy get").out == OPEN


def test_a_wrong_policy_is_refused_with_its_place(cli: CommandLine) -> None:
    put(cli, "closed")
    said = cli.fails("policy", "set", "-f", file(cli, "wrong"))
    assert said == 'line 2, column 23: action="deny" is not supported'
    assert cli.fails("policy", "check", "-f", file(cli, "wrong")) == said
    told = cli("policy", "set", "-f", file(cli, "wrong"), "-o", "json-line")
    assert json.loads(told.err) == {"error": said}
    assert "no such file" in cli.fails("policy", "set", "-f", file(cli, "none"))
    assert cli("policy get").out == CLOSED


def test_an_empty_text_takes_a_policy_away_only_if_meant(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert put(cli, "empty") == "Policy unchanged."
    put(cli, "closed")
    pipe(monkeypatch, b"")
    said = cli("policy set -f -")
    assert said.status == 1
    assert "everyone could reach everyone" in said.err
    assert cli("policy get").out == CLOSED
    assert put(cli, "empty", "--force") == "Policy updated."
    assert "acl policy not found" in cli.fails("policy get")
    put(cli, "closed")
    assert "everyone could reach everyone" in cli("policy rollback 2").err
    assert cli("policy get").out == CLOSED
    assert cli.ok("policy rollback 2 --force") == "Policy rolled back to version 2, as version 4."


@pytest.mark.parametrize("text", [" \n\t", "// nothing yet\n", "/* { */ // }\n\n"])
def test_comments_alone_are_an_empty_text(cli: CommandLine, text: str) -> None:
    put(cli, "closed")
    (cli.config.parent / "empty").write_text(text)
    warning = "Warning: the text is empty: without a policy everyone may reach everyone\n"
    assert cli("policy", "check", "-f", file(cli, "empty")) == (0, "Policy is valid\n", warning)
    assert "everyone could reach everyone" in cli("policy", "set", "-f", file(cli, "empty")).err
    assert cli("policy get").out == CLOSED
    assert put(cli, "empty", "--force") == "Policy updated."
    assert "acl policy not found" in cli.fails("policy get")


TESTED = """{
  "acls": [{"action": "accept", "src": ["alice@"], "dst": ["100.64.0.9:22"]}],
  "tests": [
    {"src": "alice@", "accept": ["100.64.0.9:22"]},
    {"src": "alice@", "accept": ["100.64.0.9:80"], "deny": ["100.64.0.8:22"]},
  ],
}
"""


def test_a_policys_tests_are_run_on_the_nodes_there_are(cli: CommandLine, database_dsn: str) -> None:
    assert cli.ok("policy test") == "0 tests passed"
    (cli.config.parent / "tested").write_text(TESTED)
    cli.ok("users create alice")
    put_nodes(database_dsn, {"user_id": UserId(1), "tags": ()})
    said = cli("policy", "test", "-f", file(cli, "tested"))
    assert said.status == 1
    assert said.out == "line 5, column 5: alice@ -> 100.64.0.9:80: expected ALLOWED, got DENIED\n"
    assert json.loads(cli("policy", "test", "-f", file(cli, "tested"), "-o", "json").out)["tests"] == 2
    for verb in ("set", "check"):
        refusal = cli("policy", verb, "-f", file(cli, "tested")).err
        assert refusal == f"Error: test(s) failed:\n{said.out}"
    assert "acl policy not found" in cli.fails("policy get")
    (cli.config.parent / "tested").write_text(TESTED.replace(":80", ":22"))
    put(cli, "tested")
    assert cli.ok("policy test") == "2 tests passed"


def test_logins_that_nobody_has_are_named(cli: CommandLine) -> None:
    cli.ok("users create alice --email alice@example.com")
    (cli.config.parent / "misspelt").write_text("""{
      // not "alice@exampel.com"
      "groups": {"group:ops": ["alice@example.com", "alice@exampel.com"]},
      "acls": [{"action": "accept", "src": ["alice@"], "dst": ["bob@:22", "alice@exampel.com:*"]}],
    }
    """)
    warning = (
        "Warning: nobody here is alice@exampel.com (line 3, column 53)\n"
        "Warning: nobody here is bob@ (line 4, column 64)\n"
    )
    for verb, done in ("check", "Policy is valid\n"), ("set", "Policy updated.\n"):
        assert cli("policy", verb, "-f", file(cli, "misspelt")) == (0, done, warning)
    told = cli("policy", "check", "-f", file(cli, "misspelt"), "-o", "json")
    assert json.loads(told.out)["warnings"][1] == "nobody here is bob@ (line 4, column 64)"
    many = json.dumps({"groups": {"group:all": [f"u{number}@" for number in range(12)]}})
    (cli.config.parent / "many").write_text(many)
    *_, last, left = cli("policy", "check", "-f", file(cli, "many")).err.splitlines()
    assert last.startswith("Warning: nobody here is u9@ (")
    assert left == "Warning: and 2 more that nobody here is"


def test_a_connection_is_explained(cli: CommandLine, database_dsn: str) -> None:
    cli.ok("users create alice")
    alice = {"user_id": UserId(1), "tags": ()}
    put_nodes(database_dsn, {**alice, "name": "mac"}, {"tags": ("tag:web",), "name": "web"})
    assert cli.ok("policy explain mac web:22").startswith("mac -> web: allowed")
    (cli.config.parent / "web").write_text("""{
      "tagOwners": {"tag:web": []},
      "acls": [
        {"action": "accept", "src": ["alice@"], "dst": ["tag:web:443"]},
      ],
    }
    """)
    put(cli, "web")
    first, rule = cli.ok("policy explain alice@ tag:web:443").splitlines()
    assert first == "mac -> web: allowed"
    assert re.fullmatch(r"    line 4, column 9: alice@ -> tag:web: .*443", rule)
    assert cli.ok("policy why mac web:22").startswith(
        "mac -> web: denied: the rules for this pair allow other"
    )
    assert "denied: no rule has the source" in cli.ok("policy explain web mac:22 --proto udp")
    assert "denied" in cli.ok("policy explain mac [fd7a:115c:a1e0::2]:22")
    assert "denied" in cli.ok("policy explain mac fd7a:115c:a1e0::2 -p gre")
    assert "allowed" in cli.ok("policy explain mac 100.64.0.2 -p icmp")
    assert "allowed" in cli.ok("policy", "explain", "web", "mac:22", "-f", file(cli, "open"))
    (verdict,) = cli.json("policy explain mac web:443")
    assert verdict["allowed"] is True
    assert [(reason["line"], reason["column"]) for reason in verdict["reasons"]] == [(4, 9)]
    (verdict,) = cli.json("policy explain web mac:22")
    assert (verdict["missing"], "allowed" in verdict) == ("source", False)
    written = "'alice' is no node, address, user or tag here; a user without a domain is written 'alice@'"
    assert cli.fails("policy explain mac alice:22") == written
    assert cli.fails("policy explain mac bob@:22") == "'bob@' has no device here"
    assert "the port is missing, as in web:443" in cli.fails("policy explain mac web")
    assert "as in [fd7a:115c:a1e0::2]:443" in cli.fails("policy explain mac fd7a:115c:a1e0::2")
    assert "out of range" in cli.fails("policy explain mac web:70000")
    assert "protocol" in cli.fails("policy explain mac web:22 -p nonsense")


def test_versions_are_listed_compared_and_brought_back(cli: CommandLine) -> None:
    assert cli.json("policy history") == []
    assert "no two versions" in cli.fails("policy diff")
    put(cli, "open", "-m", "for a start")
    put(cli, "closed")
    newest, oldest = cli.table("policy history")
    assert list(newest) == ["Version", "Set", "Author", "Bytes", "Rolled back from", "Comment"]
    assert (oldest["Version"], oldest["Comment"], oldest["Bytes"]) == ("1", "for a start", str(len(OPEN)))
    assert re.fullmatch(r"cli \S+", oldest["Author"])
    assert re.fullmatch(r"[-\d]{10} [:\d]{8}", oldest["Set"])

    changed = "-  // everyone\n" in cli.ok("policy diff") + "\n"
    assert changed
    assert cli.ok("policy diff").startswith("--- version 1\n+++ version 2\n@@ -1,4 +1,3 @@\n {\n-")
    assert cli.ok("policy diff 2 1").startswith("--- version 2\n+++ version 1\n")
    assert cli.ok("policy diff 2") == ""
    assert cli.ok("policy", "diff", "-f", file(cli, "wrong")).startswith("--- version 2\n+++ new\n")
    assert cli.json("policy diff 1 2")["diff"].startswith("--- version 1")
    assert cli.fails("policy diff 1 2 3")
    assert "not a whole number" in cli.fails("policy diff one")

    assert cli.ok("policy rollback 1 -m back") == "Policy rolled back to version 1, as version 3."
    assert cli.ok("policy revert 3") == "Policy unchanged."
    assert cli("policy get").out == OPEN
    (row,) = cli.table("policy history -n 1")
    assert (row["Version"], row["Rolled back from"], row["Comment"]) == ("3", "1", "back")
    assert "there is no version 9" in cli.fails("policy rollback 9")
    assert "missing parameters" in cli.fails("policy rollback")


def test_a_policy_for_machines(cli: CommandLine) -> None:
    made = json.loads(put(cli, "closed", "-m", "why", "-o", "json"))
    assert list(made) == ["policy", "updated_at", "version", "etag", "size", "author", "comment"]
    assert (made["policy"], made["version"], made["comment"]) == (CLOSED, 1, "why")
    (row,) = cli.json("policy history")
    assert row == {name: value for name, value in made.items() if name != "policy"}
    assert json.loads(put(cli, "closed", "-o", "json"))["unchanged"] is True
    set_ = ("policy", "set", "-f", file(cli, "open"), "--etag")
    assert "changed in the meantime" in cli.fails(*set_, "0" * 64)
    assert cli.ok(*set_, made["etag"]) == "Policy updated."


def test_two_tailnets_have_policies_of_their_own(cli: CommandLine) -> None:
    cli.ok("tailnets create acme")
    put(cli, "open")
    assert "acl policy not found" in cli.fails("policy get --tailnet acme")
    put(cli, "closed", "--tailnet", "acme")
    assert (cli("policy get").out, cli("policy get --tailnet=acme").out) == (OPEN, CLOSED)
    assert "there is no version 2" in cli.fails("policy rollback 2 -t acme")


def test_in_file_mode_only_the_file_says_so(cli: CommandLine) -> None:
    put(cli, "open")
    put(cli, "closed")
    cli.ok("tailnets create acme")
    cli.config.write_text(cli.config.read_text() + f"policy: {{path: {file(cli, 'open')}}}\n")
    refused = "update is disabled for modes other than 'database'"
    assert refused in cli.fails("policy", "set", "-f", file(cli, "open"))
    assert refused in cli.fails("policy rollback 1")
    assert cli("policy get").out == CLOSED
    assert cli.ok("policy", "check", "-f", file(cli, "open")) == "Policy is valid"
    assert put(cli, "open", "--tailnet", "acme") == "Policy updated."


async def from_file(dsn: str, text: str) -> None:
    """As a server in file mode does it."""
    async with process(dsn) as database:
        tailnet = await tailnets.show_tailnet(database, "default")
        file = Actor(kind="file", name="/etc/acl.hujson", origin="host-1")
        await policies.set_policy(database, file, tailnet.id, text)


def test_a_servers_file_is_not_bypassed_by_accident(cli: CommandLine, database_dsn: str) -> None:
    put(cli, "open")
    asyncio.run(from_file(database_dsn, CLOSED))
    for words in (("set", "-f", file(cli, "open"), "--force"), ("rollback", "1")):
        refusal = cli.fails("policy", *words)
        assert refusal.startswith("update is disabled for modes other than 'database': ")
        assert "/etc/acl.hujson on host-1" in refusal
    assert cli("policy get").out == CLOSED
    assert put(cli, "open", "--bypass-file") == "Policy updated."
    assert put(cli, "closed") == "Policy updated."
    asyncio.run(from_file(database_dsn, OPEN))
    assert cli.ok("policy rollback 1 --bypass-file").startswith("Policy unchanged")


def test_a_terminal_is_not_told_what_it_would_obey(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "{\n\t// \x1b[2J\u202e\n}\n"
    (cli.config.parent / "odd").write_text(text)
    put(cli, "odd")
    assert cli("policy get").out == text
    assert cli("policy diff -f " + file(cli, "empty")).out.count("\\x1b[2J\\x202e") == 1
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert cli("policy get").out == "{\n\t// \\x1b[2J\\x202e\n}\n"
