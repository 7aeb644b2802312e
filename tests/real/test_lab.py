"""The lab itself: that it connects, that it sees what tries to leave, and that it leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from real.host import children
from real.lab import CTL_ADDRESS, Lab
from real.wait import until


@pytest.fixture
def small() -> Iterator[Lab]:
    with Lab(clients=2, own_names=["example.lab"]) as lab:
        yield lab


def test_hosts_reach_each_other_and_nothing_else(small: Lab) -> None:
    one, two = small.clients
    assert one.pings(two.address)
    assert one.pings(two.address6)
    assert one.pings(small.ctl.address)
    assert not small.leaks()
    assert not one.pings("192.0.2.1", seconds=0.3)
    assert not one.pings("2001:db8::1", seconds=0.3)


@pytest.mark.parametrize(
    ("address", "family"), [("192.0.2.7", "udp4"), ("2001:db8::7", "udp6"), ("198.51.100.7", "tcp4")]
)
def test_a_stray_packet_is_seen(small: Lab, address: str, family: str) -> None:
    send = (
        "import socket, sys; address, family = sys.argv[1:]\n"
        "kind = socket.SOCK_DGRAM if family.startswith('udp') else socket.SOCK_STREAM\n"
        "s = socket.socket(socket.AF_INET6 if family.endswith('6') else socket.AF_INET, kind)\n"
        "s.settimeout(0.2)\n"
        "try: s.connect((address, 4433)); s.send(b'out')\n"
        "except OSError: pass\n"
    )
    small.clients[0].run(sys.executable, "-c", send, address, family)
    until("the stray to be seen", small.leaks, 5)
    [stray] = small.leaks().packets
    assert (stray["destination"], stray["port"]) == (address, 4433)
    assert stray["source"] in (small.clients[0].address, small.clients[0].address6)


def test_a_question_for_a_foreign_name_is_seen_and_ours_is_not(small: Lab) -> None:
    for name in ("c9.example.lab", "log.vendor.example"):
        assert small.clients[0].run("getent", "hosts", name, check=False).returncode
    assert {each["name"] for each in small.leaks().questions} == {"log.vendor.example"}


def test_a_pulled_cable_loses_packets_and_keeps_the_carrier(small: Lab) -> None:
    one, two = small.clients
    small.pull(two)
    assert not one.pings(two.address, seconds=0.3)
    assert two.run("cat", "/sys/class/net/eth0/carrier").stdout == "1\n"
    small.plug(two)
    until("answers through the plugged cable", lambda: one.pings(two.address, seconds=0.3), 5)


def test_a_host_behind_another_is_reached_through_it_alone(small: Lab) -> None:
    router, other = small.clients
    with small.behind(router, "site", "203.0.113.80/24", "2001:db8:80::80/64") as site:
        for address in (site.address, site.address6):
            assert router.pings(address)
        assert site.pings(router.address)
        assert not small.leaks()
        assert not other.pings(site.address, seconds=0.3)
        until("the stray to be seen", small.leaks, 5)
        other.network(f"route add 203.0.113.0/24 via {router.address}")
        assert other.pings(site.address)
    assert not router.pings(site.address, seconds=0.3)


def test_an_account_is_of_one_host_alone(small: Lab) -> None:
    one, two = small.clients
    one.add_user("somebody")
    one.add_user("somebody")
    assert one.run("su", "-", "somebody", "-c", "id -un").stdout == "somebody\n"
    assert two.run("id", "somebody", check=False).returncode
    assert "somebody" not in Path("/etc/passwd").read_text()


def test_each_host_has_an_etc_a_run_and_a_name_of_its_own(small: Lab) -> None:
    one, two = small.clients
    one.run("sh", "-c", "echo mine >/etc/resolv.conf; echo mine >/run/mark")
    assert CTL_ADDRESS in two.run("cat", "/etc/resolv.conf").stdout
    assert two.run("test", "-e", "/run/mark", check=False).returncode
    assert not Path("/run/mark").exists()
    assert two.run("hostname").stdout == "c2\n"


def test_closing_ends_everything_and_removes_the_directory() -> None:
    with Lab(clients=1) as lab:
        lab.clients[0].start("sleeper", "sh", "-c", "sleep 300 & exec sleep 300")
        pids = [lab.clients[0].pid, *until("both sleepers", lambda: inside(lab.clients[0].pid, 3), 5)]
    assert not lab.directory.exists()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_killed_run_leaves_no_process_and_the_next_lab_removes_its_directory() -> None:
    script = (
        "from real.lab import Lab\n"
        "lab = Lab(clients=1)\n"
        "lab.clients[0].start('sleeper', 'sh', '-c', 'sleep 300 & exec sleep 300')\n"
        "print(lab.clients[0].pid, lab.directory, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        init, directory = run.stdout.readline().split()
        pids = until("both sleepers", lambda: inside(int(init), 3), 5)
        os.kill(run.pid, signal.SIGKILL)
    until("all to be gone", lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], 5)
    assert Path(directory).exists()
    with Lab(clients=0):
        assert not Path(directory).exists()


def inside(init: int, count: int) -> list[int]:
    """The pids in the process namespace of `init`, if there are at least `count`."""
    namespace = os.readlink(f"/proc/{init}/ns/pid")
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "ns/pid") == namespace:
                pids.append(int(entry.name))
        except OSError:
            continue
    return pids if len(pids) >= count else []


def test_waiting_says_what_was_seen_last() -> None:
    started = time.monotonic()
    with pytest.raises(AssertionError, match=r"not within 0.2 s: a pig to fly; at last: \[\]"):
        until("a pig to fly", lambda: children(0), 0.2, every=0.01)
    assert time.monotonic() - started < 2
