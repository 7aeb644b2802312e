"""`nodes` and `auth`: what an admin sees of devices and does to them."""

import asyncio
import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.command_line import CommandLine, with_a_tailnet
from tests.registration import Device
from tests.store_world import ADMIN, a_node, process, put_node

from headscale_saas.actions.outcome import Declined, Pending, Registered
from headscale_saas.store.database import Database
from headscale_saas.store.directory import tailnet_by_name
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailnet.model import KeyId, UserId

ALICE = {"user_id": UserId(1), "tags": ()}


def put(dsn: str, *changes: dict[str, Any]) -> None:
    """Nodes 1, 2, … of the default tailnet, with these differences."""

    async def put_all(tx: TailnetTx) -> None:
        for number, change in enumerate(changes, 1):
            await put_node(tx, a_node(number, **change))
        await tx.execute("update tailnet_settings set next_node_id = $1", len(changes) + 1)

    async def open_and_put() -> None:
        database = await Database.open(dsn, pool_size=2)
        async with database.directory() as tx:
            head = await tailnet_by_name(tx, "default")
        assert head is not None
        await database.write(head.id, ADMIN, put_all)
        await database.close()

    asyncio.run(open_and_put())


@pytest.fixture
def cli(database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The default tailnet with a user, alice."""
    cli = with_a_tailnet(database_dsn, tmp_path, capsys)
    cli.ok("users create alice")
    return cli


def test_nodes_have_the_columns_of_headscale(cli: CommandLine, database_dsn: str) -> None:
    cli.ok("preauthkeys create -u 1 --ephemeral")
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    put(
        database_dsn,
        {
            **ALICE,
            "hostname": "Alice's Mac",
            "name": "alices-mac",
            "auth_key_id": KeyId(1),
            "ephemeral": True,
        },
        {"tags": ("tag:a", "tag:b"), "online": True, "expires_at": an_hour_ago, "last_seen": an_hour_ago},
    )
    first, more, second, _ = cli.table("nodes list")
    assert list(first) == [
        "ID", "Hostname", "Name", "MachineKey", "NodeKey", "User", "Tags", "IP addresses", "Ephemeral",
        "Last seen", "Expiration", "Connected", "Expired",
    ]  # fmt: skip
    assert first["ID"] == "1"
    assert (first["Hostname"], first["Name"], first["User"]) == ("Alice's Mac", "alices-mac", "alice")
    assert re.fullmatch(r"\[.{5}\]", first["MachineKey"])
    assert (first["IP addresses"], more["IP addresses"]) == ("100.64.0.1", "fd7a:115c:a1e0::1")
    assert (first["Ephemeral"], first["Expiration"]) == ("true", "N/A")
    assert (first["Connected"], first["Expired"]) == ("offline", "no")
    assert (second["User"], second["Tags"]) == ("tagged-devices", "tag:a")
    assert (second["Connected"], second["Expired"]) == ("online", "yes")


def test_a_node_has_the_json_of_headscale(cli: CommandLine, database_dsn: str) -> None:
    cli.ok("preauthkeys create -u 1")
    routes = ("10.0.0.0/24", "0.0.0.0/0", "::/0")
    put(
        database_dsn,
        {
            **ALICE,
            "auth_key_id": KeyId(1),
            "online": True,
            "hostinfo": Hostinfo(hostname="host1", routable_ips=routes),
            "approved_routes": routes[:1],
        },
        {"tags": ("tag:a",), "name_is_fixed": True, "last_seen": datetime.fromtimestamp(1000, UTC)},
    )
    first, second = cli.json("node ls")
    assert list(first) == [
        "id", "machine_key", "node_key", "disco_key", "ip_addresses", "name", "user", "last_seen",
        "pre_auth_key", "created_at", "register_method", "given_name", "online", "approved_routes",
        "available_routes", "subnet_routes",
    ]  # fmt: skip
    assert first["user"]["name"] == "alice"
    assert first["pre_auth_key"]["key"].endswith("-***")
    assert first["register_method"] == 1
    assert first["subnet_routes"] == ["10.0.0.0/24"]
    assert set(first["available_routes"]) == set(routes)
    assert abs(first["last_seen"]["seconds"] - time.time()) < 60
    assert second["last_seen"] == {"seconds": 1000}
    assert second["user"]["id"] == 2147455555
    assert second["tags"] == ["tag:a"]
    assert "online" not in second


def test_nodes_of_one_user(cli: CommandLine, database_dsn: str) -> None:
    cli.ok("users create bob")
    put(database_dsn, ALICE, {"user_id": UserId(2), "tags": ()}, {"tags": ("tag:a",)})
    assert [node["id"] for node in cli.json("nodes list -u bob")] == [2]
    assert [node["id"] for node in cli.json("nodes list --user=alice")] == [1]
    assert "user not found" in cli.fails("nodes list -u nobody")


def test_a_node_is_renamed(cli: CommandLine, database_dsn: str) -> None:
    put(database_dsn, ALICE, ALICE)
    assert cli.ok("nodes rename fox -i 1") == "Node renamed"
    assert cli.json("nodes rename -i 2 owl")["given_name"] == "owl"
    assert "node not found" in cli.fails("nodes rename fox -i 9")
    assert "too long" in cli.fails("nodes", "rename", "-i", "1", "x" * 64)
    assert cli.fails("nodes rename -i 1 owl")
    assert [node["given_name"] for node in cli.json("nodes list")] == ["fox", "owl"]


def test_a_node_expires_now_later_or_never(cli: CommandLine, database_dsn: str) -> None:
    put(database_dsn, ALICE, ALICE)
    assert cli.ok("nodes expire -i 1") == "Node expired"
    first, second = cli.json("nodes list")
    assert abs(first["expiry"]["seconds"] - time.time()) < 60
    assert "expiry" not in second
    assert cli.ok("nodes logout -i 1 -e 2040-01-02T15:04:05Z") == "Node expiration updated"
    assert cli.json("nodes list")[0]["expiry"] == {"seconds": 2209129445}
    assert cli.ok("nodes e -i 1 --disable") == "Node expiry disabled"
    assert "expiry" not in cli.json("nodes list")[0]
    assert "parsing expiry" in cli.fails("nodes expire -i 1 -e tomorrow")
    assert "node not found" in cli.fails("nodes expire -i 9")
    assert cli.fails("nodes expire -i 1 -d -e 2040-01-02T15:04:05Z")


def test_a_node_is_tagged(cli: CommandLine, database_dsn: str) -> None:
    put(database_dsn, ALICE)
    assert "tag must start" in cli.fails("nodes tag -i 1 -t web")
    assert "cannot remove all tags" in cli.fails("nodes", "tag", "-i", "1", "-t", "")
    assert "node not found" in cli.fails("nodes tag -i 9 -t tag:web")
    assert cli.json("nodes list")[0]["user"]["name"] == "alice"
    assert cli.ok("nodes t -i 1 -t tag:web,tag:db --tags tag:eu") == "Node updated"
    (node,) = cli.json("nodes list")
    assert (node["user"]["name"], node["tags"]) == ("tagged-devices", ["tag:db", "tag:eu", "tag:web"])


def test_routes_are_approved_and_listed(cli: CommandLine, database_dsn: str) -> None:
    announced = ("10.0.0.0/24", "0.0.0.0/0", "::/0")
    put(database_dsn, {**ALICE, "hostinfo": Hostinfo(hostname="host1", routable_ips=announced)}, ALICE)
    (row, *_) = cli.table("nodes list-routes")
    assert list(row) == ["ID", "Hostname", "Approved", "Available", "Serving (Primary)"]
    assert (row["ID"], row["Approved"], row["Serving (Primary)"]) == ("1", "", "")
    assert cli.ok("nodes approve-routes -i 1 -r 10.0.0.0/24") == "Node updated"
    assert cli.table("nodes routes -i 1")[0]["Serving (Primary)"] == "10.0.0.0/24"
    assert cli.json("nodes approve-routes -i 1 -r ::/0")["approved_routes"] == ["0.0.0.0/0", "::/0"]
    assert "approved_routes" not in cli.json("nodes", "approve-routes", "-i", "1", "-r", "")
    assert [node["id"] for node in cli.json("nodes lsr")] == [1]
    assert "parsing route" in cli.fails("nodes approve-routes -i 1 -r nonsense")
    assert "parsing route" in cli.fails("nodes approve-routes -i 1 -r 2001:db8::%eth0/32")
    assert "node not found" in cli.fails("nodes approve-routes -i 9 -r 10.0.0.0/24")
    assert "node not found" in cli.fails("nodes list-routes -i 9")


def test_a_node_is_deleted_after_asking(
    cli: CommandLine, database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database_dsn, ALICE, ALICE)
    monkeypatch.setattr("sys.stdin.readline", lambda: "no\n", raising=False)
    said = cli("nodes delete -i 1")
    assert (said.status, said.out) == (0, "Node not deleted\n")
    assert cli.json("nodes delete -i 1 --force") == {"Result": "Node deleted"}
    assert "node not found" in cli.fails("nodes del -i 1 --force")
    assert [node["id"] for node in cli.json("nodes list")] == [2]


def test_addresses_that_are_missing_are_given(cli: CommandLine, database_dsn: str) -> None:
    put(database_dsn, ALICE, {**ALICE, "ipv4": None})
    assert len(cli.json("nodes backfillips --force")["changes"]) == 1
    assert all(len(node["ip_addresses"]) == 2 for node in cli.json("nodes list"))
    before = cli.json("nodes list")
    assert cli.ok("nodes backfillips --force") == "Node IPs backfilled successfully"
    assert cli.json("nodes list") == before


@pytest.mark.parametrize(
    "line",
    [
        "auth register -u alice --auth-id",
        "auth approve -u alice --auth-id",
        "auth reject --auth-id",
    ],
)
def test_logins_that_nobody_waits_for(cli: CommandLine, line: str) -> None:
    assert "invalid auth_id" in cli.fails(f"{line} nonsense")
    assert "no pending auth session" in cli.fails(f"{line} hskey-authreq-{'a' * 24}")


def test_a_waiting_device_is_let_in_or_turned_away(cli: CommandLine, database_dsn: str) -> None:
    devices = [Device("fox"), Device("owl"), Device("cat")]

    async def ask(*followups: str) -> list[object]:
        async with process(database_dsn) as db:
            asked = zip(devices, followups or ("",) * 3, strict=True)
            return [await device.register(db, followup=url) for device, url in asked]

    ids = [answer.login_id for answer in asyncio.run(ask()) if isinstance(answer, Pending)]
    assert cli.ok(f"auth register -u alice --auth-id {ids[0]}") == "Node fox registered"
    said = cli(f"nodes register --user alice --key {ids[1]} -o json-line")
    assert said.status == 0
    assert json.loads(said.out)["given_name"] == "owl"
    assert cli.json(f"auth reject --auth-id {ids[2]}") == {}
    answers = asyncio.run(ask(*(f"https://example.com/register/{login_id}" for login_id in ids)))
    assert [type(answer) for answer in answers] == [Registered, Registered, Declined]
    assert [(node["name"], node["register_method"]) for node in cli.json("nodes list")] == [
        ("fox", 2),
        ("owl", 2),
    ]


def test_what_logins_refuse(cli: CommandLine) -> None:
    login = f"hskey-authreq-{'a' * 24}"
    assert "looking up user" in cli.fails(f"auth register -u nobody --auth-id {login}")
    assert "--user" in cli.fails(f"auth approve --auth-id {login}")
    said = cli(f"nodes register -u alice -k {login}")
    assert said.status == 1
    assert "deprecated" in said.err
    assert "no pending auth session" in said.err
