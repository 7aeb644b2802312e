"""The sample configurations of HAProxy and nginx let TS2021 through, and leave silent tunnels alone."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from real.host import Host, Process
from real.lab import Lab
from real.proxy import is_complaining, start_haproxy, start_nginx
from real.wait import until

UPGRADE = str(Path(__file__).parent / "upgrade.py")
SILENCE = 66  # seconds: a little more than a client and a server may be silent in turn
SEVERAL_CHECKS = 7  # seconds: HAProxy's sample asks every two, and believes the second answer
Starter = Callable[[Host, str, int, Sequence[str]], Process]
PROXIES = {"haproxy": (start_haproxy, 8080), "nginx": (start_nginx, 8090)}


def stand_in(host: Host, port: int) -> Process:
    server = host.start(f"control-{port}", sys.executable, "-I", UPGRADE, "serve", str(port))
    server.wait_for("serving")
    return server


def hold(host: Host, address: str, port: int, seconds: float) -> Process:
    argv = ["hold", address, str(port), f"{seconds:g}"]
    return host.start(f"hold-{port}", sys.executable, "-I", UPGRADE, *argv)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(clients=1) as lab:
        yield lab


@pytest.mark.slow
def test_a_silent_tunnel_outlives_a_minute(lab: Lab) -> None:
    [client] = lab.clients
    stand_in(lab.ctl, 8081)
    held = []
    for name, (start, port) in PROXIES.items():
        proxy = start(lab.ctl, name, port, ["127.0.0.1:8081"])
        assert not is_complaining(proxy)
        held.append(hold(client, lab.ctl.address, port, SILENCE))
    for tunnel in held:
        tunnel.wait_for("held", seconds=SILENCE + 10)


@pytest.mark.parametrize("name", PROXIES)
def test_a_dead_process_is_gone_round(lab: Lab, name: str) -> None:
    """Each attempt succeeds, also the first ones after the death, before any health check has noticed."""
    [client] = lab.clients
    start, port = PROXIES[name]
    first, _ = stand_in(lab.ctl, 8081), stand_in(lab.ctl, 8082)
    start(lab.ctl, name, port, ["127.0.0.1:8081", "127.0.0.1:8082"])
    until("the proxy to see a process", lambda: tunnels(client, lab.ctl.address, port), 10)
    first.kill()
    assert [tunnels(client, lab.ctl.address, port) for _ in range(4)] == [True] * 4


@pytest.mark.parametrize("name", PROXIES)
def test_a_process_without_a_database_keeps_its_clients(lab: Lab, name: str) -> None:
    """Else all clients of all processes would be cut off when the database is away, and come back at once."""
    [client] = lab.clients
    start, port = PROXIES[name]
    only = stand_in(lab.ctl, 8081)
    start(lab.ctl, name, port, ["127.0.0.1:8081"])
    until("the proxy to see a process", lambda: tunnels(client, lab.ctl.address, port), 10)
    tunnel = hold(client, lab.ctl.address, port, SEVERAL_CHECKS)
    tunnel.wait_for("upgraded")
    only.signal(signal.SIGUSR1)
    tunnel.wait_for("held", seconds=SEVERAL_CHECKS + 10)


def tunnels(client: Host, address: str, port: int) -> bool:
    """Whether a tunnel comes about and carries words both ways."""
    argv = [sys.executable, "-I", UPGRADE, "hold", address, str(port), "0.01"]
    return client.run(*argv, check=False).returncode == 0
