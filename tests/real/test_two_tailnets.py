"""Two tailnets with the same addresses, on two clusters: each is whole, and neither knows of the other.

Later tests in this file use the clients of the earlier ones; each leaves them joined.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from real.client import Client
from real.scenario import Hosts, Tailnet, all_ping, by_address, by_name, label, pairs, sees_all
from real.service import ControlProcess, Service
from real.wait import together, until, until_each

# A server that says its tailnet's name to who connects, and who asks it.
ANSWER = """
import socket, sys
server = socket.create_server(("0.0.0.0", 7777))
while True:
    with server.accept()[0] as asker: asker.sendall(sys.argv[1].encode())
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], 7777), timeout=3) as server: print(server.recv(100).decode())
"""
Pair = tuple[Tailnet, Tailnet]


@pytest.fixture(scope="module")
def both(service: Service, machines: Hosts, numbers: Iterator[int]) -> Iterator[Pair]:
    """Tailnets on cluster 1 and 2, three clients each; every name in them carries a mark of its tailnet."""
    made = tuple(Tailnet(service, machines, f"net{next(numbers)}", cluster) for cluster in (1, 2))
    try:
        for tailnet, mark in zip(made, ("umber", "teal"), strict=True):
            key = tailnet.auth_key(tailnet.create_user(f"{mark}-user"), "--reusable")
            tailnet.join(key, prefix=f"{mark}-machine")
        yield made  # type: ignore[misc]
    finally:
        machines.take_back()


@pytest.mark.parametrize("targets", [by_address, by_name])
def test_all_pairs_of_a_tailnet_reach_each_other(
    both: Pair, targets: Callable[[Client], Iterable[str]]
) -> None:
    for tailnet in both:
        all_ping(tailnet.clients, targets)


def test_both_count_nodes_and_addresses_from_the_start(both: Pair) -> None:
    numbering = [
        ({node["id"] for node in tailnet.nodes().values()}, {c.ipv4 for c in tailnet.clients})
        for tailnet in both
    ]
    assert numbering[0] == numbering[1]
    assert {"100.64.0.1", "100.64.0.2", "100.64.0.3"} == numbering[0][1]


def test_neither_netmap_holds_a_trace_of_the_other(both: Pair) -> None:
    for tailnet, other in (both, both[::-1]):
        foreign = {other.name} | {fact for client in other.clients for fact in traces(client)}
        for client in tailnet.clients:
            assert len(client.peers()) == 2
            told = json.dumps([client.netmap(), client.status()])
            assert not [trace for trace in foreign if trace in told]
            assert not [mark for mark in ("umber", "teal") if mark not in client.hostname and mark in told]


def traces(client: Client) -> list[str]:
    """Facts that identify a client: names, keys and the machine it is on."""
    own = client.status()["Self"]
    return [own["HostName"], own["DNSName"], own["PublicKey"], own["ID"], f"{client.host.address}:"]


def test_names_of_the_other_tailnet_do_not_resolve(both: Pair) -> None:
    for tailnet, other in (both, both[::-1]):
        asker = tailnet.clients[0]
        for name in [*by_name(other.clients[1]), f"{label(other.clients[1])}.{asker.name.partition('.')[2]}"]:
            assert asker.host.run("getent", "hosts", name, check=False).returncode, name
        assert not asker.pings(other.clients[1].name, seconds=0.5)


def test_an_address_leads_into_ones_own_tailnet(both: Pair) -> None:
    """Both have 100.64.0.1 and so on: what answers there must be of the same tailnet."""
    everyone = [(tailnet, client) for tailnet in both for client in tailnet.clients]
    servers = [c.host.start("answer", sys.executable, "-c", ANSWER, t.name) for t, c in everyone]

    tailnets = {client: tailnet.name for tailnet, client in everyone}

    def leads_home(pair: tuple[Client, Client]) -> bool:
        asker, target = pair
        answer = asker.host.run(sys.executable, "-c", ASK, target.ipv4, check=False).stdout.strip()
        return answer == tailnets[asker]

    asks = [pair for tailnet in both for pair in pairs(tailnet.clients)]
    until_each("is of one's own tailnet", asks, leads_home, 20)
    for server in servers:
        server.stop()


def test_a_killed_process_interrupts_no_tunnel_and_its_clients_move_on(both: Pair, service: Service) -> None:
    tailnet = both[0]
    first, second, third = tailnet.clients
    with first.pinging(second.ipv4) as to_second, third.pinging(first.ipv6) as to_first:
        service.a1.kill()
        everyone_hears_of_a_change(tailnet)
        service.a1.start()
    assert to_second.received == to_second.sent
    assert to_first.received == to_first.sent
    sees_all(tailnet.clients)


def test_without_any_process_tunnels_live_on_and_all_recovers(both: Pair, service: Service) -> None:
    first, second, third = both[0].clients
    with first.pinging(second.ipv4) as train:
        for process in service.processes:
            process.kill()
        until("pings to go on for a while", lambda: first.pings(third.ipv4, count=10), 20)
        together(ControlProcess.start, service.processes)
    assert train.received == train.sent
    for tailnet in both:
        everyone_hears_of_a_change(tailnet)
    until_each("all are online", both, everyone_is_online, 30)
    for tailnet in both:
        all_ping(tailnet.clients, by_name)


def everyone_hears_of_a_change(tailnet: Tailnet) -> None:
    """Renames a node of the tailnet: proof that its peers have a live map stream to some process."""
    renamed, *others = tailnet.clients
    name = f"{tailnet.name}-{time.monotonic_ns() // 10**6}"
    tailnet.cli("nodes", "rename", "-i", tailnet.node_id(renamed), name)
    until_each(f"hears of {name}", others, lambda client: name in client.peers(), 40)
    until("itself to hear", lambda: label(renamed) == name, 40)


def everyone_is_online(tailnet: Tailnet) -> bool:
    return all(node.get("online") for node in tailnet.nodes().values())
