"""What needs no server: help, mistakes, versions, keys."""

import json
import re
from pathlib import Path

import pytest

from headscale_saas.cli import main
from headscale_saas.version import COMPATIBLE


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: headscale" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["nodes"], ["node", "-h"], ["nodes", "--help"], ["--help", "nodes"]])
def test_a_group_alone_prints_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert "backfillips" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bogus", 'unknown command "bogus" for "headscale"'),
        ("nodes bogus", 'unknown command "bogus" for "headscale nodes"'),
        ("users list --bogus", "unknown flag: --bogus"),
        ("users list -x", "unknown shorthand flag: 'x' in -x"),
        ("users create", "missing parameters"),
        ("users rename -i 1", 'required flag(s) "new-name" not set'),
        ("nodes rename fox", 'required flag(s) "identifier" not set'),
        ("auth register", 'required flag(s) "auth-id", "user" not set'),
        ("policy set", 'required flag(s) "file" not set'),
        ("swarm", 'required flag(s) "url" not set'),
        ("policy diff one", 'invalid argument "one" for VERSIONS: not a whole number'),
        ("policy get --version x", 'invalid argument "x" for "--version" flag'),
        ("nodes expire -i one", 'invalid argument "one" for "-i, --identifier" flag'),
        ("nodes expire -i -1", 'invalid argument "-1" for "-i, --identifier" flag'),
        ("version -o xml", 'invalid argument for "-o, --output" flag'),
        ("version -o", "flag needs an argument: -o"),
    ],
)
def test_a_mistake_on_the_line_is_named_and_usage_shown(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"Error: {message}")
    assert "\nUsage: headscale" in printed.err
    assert not printed.out


def test_a_mistake_is_one_object_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", "expire", "-o", "json-line"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.err) == {"error": 'required flag(s) "identifier" not set'}
    assert not printed.out


@pytest.mark.parametrize("name", ["oauth-clients", "mockoidc", "debug"])
def test_what_is_not_built_says_so(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "get"]) == 1
    assert capsys.readouterr().err == f"Error: {name} is not built yet\n"


def test_the_version_has_the_shape_of_the_servers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "-o", "json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert list(written) == ["version", "commit", "buildTime", "go", "dirty"]
    assert written["version"] == COMPATIBLE, "scripts ask whether it is new enough"


def test_private_keys_are_clamped_and_differ(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "private-key"]) == 0
    assert main(["gen", "private-key", "-o", "json-line"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    keys = [first, json.loads(second)["private_key"]]
    assert len(set(keys)) == 2
    for key in keys:
        assert re.fullmatch(r"privkey:[0-9a-f]{64}", key)
        raw = bytes.fromhex(key.removeprefix("privkey:"))
        assert raw[0] & 7 == 0
        assert raw[31] & 0b11000000 == 0b01000000


def test_configtest_is_silent_or_lists_all_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("server_url: http://127.0.0.1:8080\n")
    assert main(["configtest", "-c", str(config)]) == 0
    assert capsys.readouterr().out == ""
    config.write_text("server_url: ftp://example.com\nlisten_addr: nonsense\n")
    assert main(["configtest", "-c", str(config)]) == 1
    printed = capsys.readouterr()
    assert "listen_addr" in printed.err
    assert not printed.out


def test_without_a_server_it_says_where_it_looked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"state_dir: {tmp_path}/state\ncli:\n  timeout: 200ms\n")
    assert main(["-c", str(config), "users", "list"]) == 1
    message = capsys.readouterr().err
    assert f"{tmp_path}/state" in message
    assert "headscale serve" in message


def test_another_machine_is_not_mistaken_for_this_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADSCALE_CLI_ADDRESS", "headscale.example.com:50443")
    assert main(["users", "list"]) == 1
    assert "not built yet" in capsys.readouterr().err


def test_a_fault_of_ours_does_not_spill_what_it_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def spill(*_: object) -> None:
        raise ValueError("hskey-auth-secret")

    monkeypatch.setattr("headscale_saas.cli.server.platform.machine", spill)
    assert main(["version", "-o", "json-line"]) == 1
    printed = capsys.readouterr()
    assert "secret" not in printed.err
    assert "ValueError" in json.loads(printed.err)["error"]
    monkeypatch.setenv("HEADSCALE_TRACEBACK", "1")
    with pytest.raises(ValueError, match="secret"):
        main(["version"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_HEADSCALE_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("help", "Usage: headscale [OPTIONS] [COMMAND]"),
        ("help users", "Usage: headscale users"),
        ("help user ls", "Usage: headscale users list"),
        ("help swarm", "Usage: headscale swarm"),
        ("help help", "Usage: headscale help"),
    ],
)
def test_help_is_a_command_too(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 0
    assert capsys.readouterr().out.startswith(words)


def test_help_on_nothing_known_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "users", "bogus"]) == 1
    assert capsys.readouterr().err.startswith('Error: unknown help topic "users bogus"')
