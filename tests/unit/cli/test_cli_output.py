"""JSON is byte for byte what headscale 0.29 prints; tables are plain text when nobody looks."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from headscale_saas.cli.messages import ApiKey, Node, PreAuthKey, RegisterMethod, Timestamp, User
from headscale_saas.cli.output import Printer, bad, clean, encoded, good, lines, moment

CREATED = Timestamp(1795356530, 713500390)
ALICE = User(id=1, name="alice", created_at=CREATED)

ALICE_JSON = """\
[
	{
		"id": 1,
		"name": "alice",
		"created_at": {
			"seconds": 1795356530,
			"nanos": 713500390
		}
	}
]"""


def test_json_is_indented_with_tabs_and_leaves_zero_values_out() -> None:
    assert encoded([ALICE], "json") == ALICE_JSON


def test_json_line_is_one_line_without_spaces() -> None:
    key = ApiKey(id=1, prefix="hskey-api-abc-***", created_at=Timestamp(5))
    assert encoded([key], "json-line") == (
        '[{"id":1,"prefix":"hskey-api-abc-***","created_at":{"seconds":5}}]'
    )


def test_signs_that_mean_something_in_html_are_escaped_as_go_does() -> None:
    assert encoded({"name": "<a & b>\u2028é"}, "json-line") == (
        '{"name":"\\u003ca \\u0026 b\\u003e\\u2028é"}'
    )


def test_a_whole_node_has_headscales_names_in_headscales_order() -> None:
    node = Node(
        id=7,
        machine_key="mkey:ab",
        node_key="nodekey:cd",
        disco_key="discokey:ef",
        ip_addresses=["100.64.0.7"],
        name="Bobs-Mac",
        user=ALICE,
        last_seen=CREATED,
        expiry=CREATED,
        pre_auth_key=PreAuthKey(id=1, reusable=True),
        created_at=CREATED,
        register_method=RegisterMethod.CLI,
        given_name="bobs-mac",
        online=True,
        approved_routes=["10.0.0.0/24"],
        available_routes=["10.0.0.0/24"],
        subnet_routes=["10.0.0.0/24"],
        tags=["tag:a"],
    )
    written = json.loads(encoded(node, "json"))
    assert list(written) == [
        "id", "machine_key", "node_key", "disco_key", "ip_addresses", "name", "user", "last_seen", "expiry",
        "pre_auth_key", "created_at", "register_method", "given_name", "online", "approved_routes",
        "available_routes", "subnet_routes", "tags",
    ]  # fmt: skip
    assert written["register_method"] == 2
    assert written["pre_auth_key"] == {"id": 1, "reusable": True}


def test_yaml_has_gos_field_names_in_lower_case_and_zero_values() -> None:
    assert yaml.safe_load(encoded([ALICE], "yaml")) == [
        {
            "id": 1,
            "name": "alice",
            "createdat": {"seconds": 1795356530, "nanos": 713500390},
            "displayname": "",
            "email": "",
            "providerid": "",
            "provider": "",
            "profilepicurl": "",
        }
    ]


@pytest.mark.parametrize("style", ["json", "json-line", "yaml"])
def test_an_empty_list_is_an_empty_list(style: str) -> None:
    assert encoded([], style) == "[]"


def test_timestamps_keep_microseconds_before_and_after_1970() -> None:
    for time in (datetime(2026, 11, 22, 1, 2, 3, 456789, UTC), datetime(1969, 12, 31, 23, 0, 0, 1, UTC)):
        stamp = Timestamp.of(time)
        assert stamp is not None
        assert abs(stamp.as_datetime() - time) < timedelta(microseconds=1)
        assert 0 <= stamp.nanos < 10**9
    assert Timestamp.of(None) is None


def test_a_table_is_never_cut_and_has_no_colour_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("1", lines(["100.64.0.1", "fd7a::1"]), good("online")), ("20", "x" * 500, bad("offline"))]
    Printer().table([], ("ID", "IP addresses", "Connected"), rows)
    wide = 500
    assert capsys.readouterr().out.splitlines() == [
        f"ID | {'IP addresses':<{wide}} | Connected",
        f"1  | {'100.64.0.1':<{wide}} | online",
        f"   | {'fd7a::1':<{wide}} |",
        f"20 | {'x' * wide} | offline",
    ]


def test_a_table_without_rows_has_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().table([], ("ID", "Name"), [])
    assert capsys.readouterr().out == "ID | Name\n"


def test_a_name_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b]0;owned\x07[red]name\r\n\u202ecod"
    Printer().table([], ("Name",), [(clean(hostile),)])
    Printer().error(f"no such node: {hostile}")
    printed = capsys.readouterr()
    assert printed.out == "Name\n\\x1b]0;owned\\x07[red]name\\x0d\\x0a\\x202ecod\n"
    assert "\x1b" not in printed.err
    assert "\u202e" not in printed.err


@pytest.mark.parametrize("style", ["json", "json-line", "yaml"])
@pytest.mark.parametrize(
    "name",
    ["a\x1b[2J\x9b31m\x7f\u202etxt\u2066b\r\n", "photo\u202egpj.exe", "\u200f", "\u061c\u200e: #", "\x85"],
)
def test_a_name_cannot_drive_the_terminal_in_json_or_yaml_either(style: str, name: str) -> None:
    for value in ({"name": name}, {name: "name"}, [name]):
        text = encoded(value, style)
        assert all(sign.isprintable() or sign in "\n\t" for sign in text)
        assert (yaml.safe_load(text) if style == "yaml" else json.loads(text)) == value


def test_other_names_are_plain_in_yaml() -> None:
    assert encoded({"name": "Zoë's Mac 漢"}, "yaml") == "name: Zoë's Mac 漢"


def test_errors_are_for_people_or_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    for style in ("", "json", "json-line", "yaml"):
        Printer(style).error("node not found", usage="Usage: …")
    assert capsys.readouterr().err == (
        "Error: node not found\nUsage: …\n"
        '{\n\t"error": "node not found"\n}\n'
        '{"error":"node not found"}\n'
        "error: node not found\n"
    )


def test_moments_are_to_the_second_in_utc() -> None:
    assert moment(CREATED) == "2026-11-22 14:08:50"
    assert moment(None) == "N/A"
