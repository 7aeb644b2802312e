"""A network of namespaces that nothing leaves, and that dies with the process that made it.

    wire  a bridge              c1…cN  clients, 10.77.0.101…, default route to the sink
    sink  10.77.0.1             where default routes lead: forwards nothing, counts strays (leakwatch.py)
    ctl   10.77.0.2             servers, and a resolver that knows no name (names.py)

Hosts of another network hang behind one of these by a wire of their own (`behind`).

Only the lab's directory in /tmp can outlive a crash; the next lab removes it, for its lock is then free.
"""

import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import IO, Any

from real.host import Host
from real.wait import together

HERE = Path(__file__).parent
IPV4, IPV6 = "10.77.0.", "fd77:1ab::"
SINK, CTL, FIRST_CLIENT = 1, 2, 101
CTL_ADDRESS = f"{IPV4}{CTL}"
INSIDE = (
    "10.77.0.0/24", "fd77:1ab::/64", "fe80::/10", "ff00::/8", "224.0.0.0/4", "255.255.255.255/32",
)  # fmt: skip
# Addresses of a tailnet that the sender has no peer at: our tests' own pings of who must not answer.
UNROUTED = ("100.64.0.0/10", "fd7a:115c:a1e0::/48")
PREFIX = "hslab-"


@dataclass(frozen=True)
class Leaks:
    """What tried to leave: packets, DNS questions for names outside the lab, and pings into nothing."""

    packets: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    unrouted: list[dict[str, Any]]

    def __bool__(self) -> bool:
        return bool(self.packets or self.questions)


class Lab:
    """The wire, the sink, `ctl` and the clients' hosts; a context manager.

    `own_names`: suffixes of names that clients may ask the resolver for (the tailnets' domains).
    """

    def __init__(self, clients: int, own_names: Sequence[str] = ()) -> None:
        self.directory, self._lock = claim_directory()
        self._own_names = (*own_names, "lab", "localhost", "in-addr.arpa", "ip6.arpa")
        self._hosts: list[Host] = []
        try:
            self._wire = self._host("wire", ("", ""))
            self._wire.network(
                "link set lo up", "link add br0 type bridge mcast_snooping 0", "link set br0 up"
            )
            self.sink = self._plugged("sink", SINK, routed=False)
            self.ctl = self._plugged("ctl", CTL)
            self.clients = together(
                lambda n: self._plugged(f"c{n}", FIRST_CLIENT + n - 1), range(1, clients + 1), at_once=4
            )
            self._watch()
        except BaseException:
            self.close()
            raise

    def _host(self, name: str, addresses: tuple[str, str]) -> Host:
        directory = self.directory / name
        directory.mkdir()
        host = Host(name, directory, addresses, CTL_ADDRESS)
        self._hosts.append(host)
        return host

    def _plugged(self, name: str, number: int, routed: bool = True) -> Host:
        host = self._host(name, (f"{IPV4}{number}", f"{IPV6}{number}"))
        host.network(
            "link set lo up",
            f"link add eth0 type veth peer name p-{name} netns {self._wire.pid}",
            f"addr add {host.address}/24 dev eth0",
            f"addr add {host.address6}/64 dev eth0 nodad",
            "link set eth0 up",
        )
        if routed:
            host.network(f"route add default via {IPV4}{SINK}", f"route add default via {IPV6}{SINK}")
        self._wire.network(f"link set p-{name} master br0 up")
        return host

    @contextmanager
    def behind(self, router: Host, name: str, ipv4: str, ipv6: str) -> Iterator[Host]:
        """A host of the networks that its addresses name (`10.9.1.80/24`), which only `router` reaches.

        The router has no address on that wire: clients would try each as a way to the router, and lose
        packets to the sink.
        """
        host = self._host(name, (ipv4.partition("/")[0], ipv6.partition("/")[0]))
        host.network(
            "link set lo up",
            f"link add eth0 type veth peer name {name} netns {router.pid}",
            f"addr add {host.address}/32 dev eth0",
            f"addr add {host.address6}/128 dev eth0 nodad",
            "link set eth0 up",
            f"route add {router.address} dev eth0",
            f"route add default via {router.address}",
        )
        router.network(
            f"addr add fe80::1/64 dev {name} nodad",
            f"link set {name} up",
            *(f"route add {ip_interface(address).network} dev {name}" for address in (ipv4, ipv6)),
        )
        host.network("route add default via fe80::1 dev eth0")
        router.forward()
        try:
            yield host
        finally:
            router.network(f"link del {name}")
            host.close()

    def _watch(self) -> None:
        python = sys.executable
        self._watcher = self.sink.start(
            "leakwatch", python, "-I", str(HERE / "leakwatch.py"), "eth0", *INSIDE
        )
        self._resolver = self.ctl.start("names", python, "-I", str(HERE / "names.py"), CTL_ADDRESS)
        self._watcher.wait_for("watching")
        self._resolver.wait_for("serving")

    def pull(self, host: Host) -> None:
        """Pulls the cable at the switch: the carrier stays up, packets vanish both ways."""
        self._wire.network(f"link set p-{host.name} nomaster")

    def plug(self, host: Host) -> None:
        self._wire.network(f"link set p-{host.name} master br0")

    def leaks(self) -> Leaks:
        """What tried to leave so far. Fails if nobody watched."""
        assert self._watcher.alive, f"the leak watcher died:\n{self._watcher.tail()}"
        assert self._resolver.alive, f"the resolver died:\n{self._resolver.tail()}"
        strays = [json.loads(line) for line in self._watcher.output().splitlines()[1:]]
        asked = [json.loads(line) for line in self._resolver.output().splitlines()[1:]]
        unrouted = [stray for stray in strays if in_any(stray["destination"], UNROUTED)]
        return Leaks(
            packets=[stray for stray in strays if stray not in unrouted],
            questions=[each for each in asked if not self._is_ours(each["name"])],
            unrouted=unrouted,
        )

    def _is_ours(self, name: str) -> bool:
        """A single label is somebody's bare host name, tried after the search domain: not the internet's."""
        return "." not in name or any(name == own or name.endswith(f".{own}") for own in self._own_names)

    def close(self) -> None:
        """Ends every process in the lab and removes its directory."""
        for host in self._hosts:
            host.close()
        self._lock.close()
        if not os.environ.get("KEEP_LAB"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def in_any(address: str, prefixes: Sequence[str]) -> bool:
    return any(ip_address(address) in ip_network(prefix) for prefix in prefixes)


def lock(file: Path, wait: bool = False) -> IO[str]:
    """Holds a lock file until it is closed; raises BlockingIOError if another has it and we do not wait."""
    opened = file.open("w")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        opened.close()
        raise
    return opened


def claim_directory() -> tuple[Path, IO[str]]:
    """A new directory, and its lock. Removes those of labs whose maker is gone, with its namespaces."""
    temporary = Path(tempfile.gettempdir())
    with lock(temporary / f"{PREFIX}lock", wait=True):  # a new directory has no lock for a moment
        for old in temporary.glob(f"{PREFIX}*/"):
            try:
                with lock(old / "lock"):
                    shutil.rmtree(old, ignore_errors=True)
            except OSError:
                continue
        directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        directory.chmod(0o755)
        return directory, lock(directory / "lock")
