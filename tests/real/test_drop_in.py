"""A script written for headscale 0.29, with nothing changed: configuration, serve, user, key, clients.

Its configuration asks for SQLite and knows no relay; the clients reach each other all the same. Without a
relay a client suspects a captive portal and asks for its vendor's name, so this lab is one of its own.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from real.client import NEWEST, OLDEST
from real.lab import Lab
from real.proxy import wait_for_port
from real.scenario import Hosts, all_ping, everything
from real.service import COMMAND, healthy
from real.wait import together, until

PORT = 8090
HEADSCALE = str(Path(COMMAND).with_name("headscale"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(2, own_names=["example.lab", "tailscale.com"]) as lab:
        yield lab
        assert not lab.leaks()


@pytest.fixture
def hosts(lab: Lab) -> Iterator[Hosts]:
    hosts = Hosts(lab.clients)
    yield hosts
    hosts.take_back()


@pytest.fixture
def config(lab: Lab) -> Path:
    """headscale's own example, cut down to what it asks for, in directories of the lab."""
    directory = lab.ctl.directory / "headscale"
    directory.mkdir()
    file = directory / "config.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "server_url": f"http://{lab.ctl.address}:{PORT}",
                "listen_addr": f"0.0.0.0:{PORT}",
                "metrics_listen_addr": "127.0.0.1:9190",
                "grpc_listen_addr": "127.0.0.1:50443",
                "grpc_allow_insecure": False,
                "noise": {"private_key_path": str(directory / "noise_private.key")},
                "prefixes": {
                    "v4": "100.64.0.0/10",
                    "v6": "fd7a:115c:a1e0::/48",
                    "allocation": "sequential",
                },
                "derp": {"urls": [], "paths": [], "auto_update_enabled": True, "update_frequency": "3h"},
                "disable_check_updates": True,
                "node": {"expiry": 0, "ephemeral": {"inactivity_timeout": "30m"}},
                "database": {
                    "type": "sqlite",
                    "sqlite": {"path": str(directory / "db.sqlite"), "write_ahead_log": True},
                },
                "log": {"level": "info", "format": "text"},
                "dns": {
                    "magic_dns": True,
                    "base_domain": "example.lab",
                    "override_local_dns": False,
                    "nameservers": {"global": []},
                },
                "unix_socket": str(directory / "headscale.sock"),
                "unix_socket_permission": "0770",
                "state_dir": str(directory / "state"),
            }
        )
    )
    return file


def test_a_script_for_headscale_works_unchanged(lab: Lab, hosts: Hosts, config: Path) -> None:
    server = lab.ctl.start("headscale", HEADSCALE, "-c", str(config), "serve")
    try:

        def headscale(*arguments: str) -> str:
            return lab.ctl.run(HEADSCALE, "-c", str(config), *arguments, seconds=60).stdout

        headscale("users", "create", "alice")  # waits for the server by itself
        key = headscale("preauthkeys", "create", "-u", "1", "--reusable", "-e", "24h").splitlines()[-1]
        wait_for_port(lab.ctl, server, PORT, seconds=60)
        until("the server to be well", lambda: healthy(lab.ctl, "127.0.0.1", PORT), 30)
        clients = [
            hosts.lend(version, f"http://{lab.ctl.address}:{PORT}", f"drop-{name}")
            for name, version in (("new", NEWEST), ("old", OLDEST))
        ]
        together(lambda client: client.start(), clients)
        together(lambda client: client.up(key), clients)
        all_ping(clients, everything)
        nodes = json.loads(headscale("nodes", "list", "-o", "json"))
        assert {node["given_name"] for node in nodes} == {"drop-new", "drop-old"}
        log = server.output()
        assert log.count("no_derp_map") == 1, "one clear warning that there is no relay"
        assert "SQLite" in log or "sqlite" in log, "one clear line about the database"
    finally:
        print(server.output())  # shown on failure
        server.stop()
