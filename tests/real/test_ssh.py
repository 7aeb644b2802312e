"""Tailscale SSH between official clients, with OpenSSH's `ssh` and with `tailscale ssh`."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from real.client import NEWEST, OLDEST, Client, Json
from real.scenario import Hosts, Tailnet, label, sees_all
from real.service import Service
from real.wait import until_each

ACCOUNTS = ("deploy", "guest")
OWNERS = {"tagOwners": {"tag:server": ["alice@"]}}
NETWORK = {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
Pairs = list[tuple[Client, Client]]
REFUSALS = re.compile(r"tailnet policy does not permit you to SSH|Permission denied \(tailscale\)")


class People(NamedTuple):
    """Alice and Bob have clients, the servers are tagged; all come in both versions but Bob's."""

    tailnet: Tailnet
    alice: list[Client]
    bob: Client
    servers: list[Client]


@pytest.fixture(scope="module")
def people(service: Service, machines: Hosts, numbers: Iterator[int]) -> Iterator[People]:
    tailnet = Tailnet(service, machines, f"net{next(numbers)}")
    try:
        user, other = tailnet.create_user("alice"), tailnet.create_user("bob")
        alice = tailnet.join(tailnet.auth_key(user, "--reusable"), (NEWEST, OLDEST))
        [bob] = tailnet.join(tailnet.auth_key(other), [NEWEST])
        tagged = tailnet.auth_key(user, "--reusable", "--tags", "tag:server")
        servers = tailnet.join(tagged, (NEWEST, OLDEST), "--ssh")
        for server in servers:
            for account in ACCOUNTS:
                server.host.add_user(account)
        sees_all(tailnet.clients)
        yield People(tailnet, alice, bob, servers)
    finally:
        machines.take_back()


def policy(*rules: Json) -> Json:
    return OWNERS | NETWORK | {"ssh": list(rules)}


def accept(source: str, *users: str, to: str = "tag:server") -> Json:
    return {"action": "accept", "src": [source], "dst": [to], "users": list(users)}


def ssh(client: Client, server: Client, account: str, *options: str) -> list[str]:
    """OpenSSH's command line, up to the command. It trusts the host keys of the netmap and no others."""
    keys = server_keys(client, server)
    known = client.host.directory / f"known_hosts-{server.host.name}"
    known.write_text("".join(f"{address} {key}\n" for address in server.addresses() for key in keys))
    trust = ["-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={known}", "-oGlobalKnownHostsFile=none"]
    limits = ["-oBatchMode=yes", "-oConnectTimeout=5", "-oPubkeyAuthentication=no"]
    return ["ssh", "-F", "none", *trust, *limits, *options, f"{account}@{server.ipv4}"]


def server_keys(client: Client, server: Client) -> list[str]:
    """As the netmap has them; KeyError before the server has said so."""
    keys: list[str] = client.peers()[label(server)]["sshHostKeys"]
    return keys


def logs_in(client: Client, server: Client, account: str) -> bool:
    """Whether the client gets to a shell of this account; fails if it is refused for another reason."""
    done = client.host.run(*ssh(client, server, account), "id", "-un", check=False)
    if done.returncode:
        assert REFUSALS.search(done.stderr), done.stderr
        return False
    assert done.stdout == f"{account}\n"
    return True


def log_in(pairs: Pairs, account: str) -> None:
    """Waits until each first of a pair gets in at the second."""
    until_each(f"logs in as {account}", pairs, lambda pair: logs_in(*pair, account), 10)


def alice_at_servers(people: People) -> Pairs:
    return [(client, server) for client in people.alice for server in people.servers]


def test_a_rule_lets_its_users_log_in_to_its_accounts(people: People) -> None:
    people.tailnet.set_policy(policy(accept("alice@", "deploy")))
    pairs = alice_at_servers(people)
    log_in(pairs, "deploy")
    for client, server in pairs:
        assert not logs_in(client, server, "guest")
        assert not logs_in(client, server, "root")


def test_a_session_carries_input_status_and_a_terminal(people: People) -> None:
    people.tailnet.set_policy(policy(accept("alice@", "deploy")))
    log_in(alice_at_servers(people), "deploy")
    for client, server in alice_at_servers(people):
        login = ssh(client, server, "deploy")
        assert client.host.run(*login, "exit 42", check=False).returncode == 42
        piped = ["sh", "-c", 'head -c 1000000 /dev/zero | "$@"', "piped", *login, "wc -c"]
        assert client.host.run(*piped).stdout.strip() == "1000000"
        assert "/dev/pts/" in client.host.run(*ssh(client, server, "deploy", "-tt"), "tty").stdout


def test_the_clients_own_command_logs_in_by_name(people: People) -> None:
    people.tailnet.set_policy(policy(accept("alice@", "deploy")))
    log_in(alice_at_servers(people), "deploy")
    for client, server in alice_at_servers(people):
        assert client.cli("ssh", f"deploy@{label(server)}", "id", "-un") == "deploy\n"


def test_a_user_whom_no_rule_names_is_refused(people: People) -> None:
    """Though the network lets him connect, and see the banner."""
    people.tailnet.set_policy(policy(accept("alice@", "deploy")))
    log_in(alice_at_servers(people), "deploy")
    for server in people.servers:
        assert not logs_in(people.bob, server, "deploy")
        assert REFUSALS.search(people.bob.refuses("ssh", f"deploy@{label(server)}", "id"))


def test_nonroot_is_every_account_but_one(people: People) -> None:
    people.tailnet.set_policy(policy(accept("alice@", "autogroup:nonroot"), accept("bob@", "root")))
    log_in(alice_at_servers(people), "guest")
    for server in people.servers:
        assert logs_in(people.alice[1], server, "deploy")
        assert not logs_in(people.alice[0], server, "root")
        assert logs_in(people.bob, server, "root")
        assert not logs_in(people.bob, server, "guest")


def test_own_devices_are_let_in_by_autogroup_self(people: People) -> None:
    people.tailnet.set_policy(policy(accept("autogroup:member", "guest", to="autogroup:self")))
    for client in people.alice:
        client.host.add_user("guest")
        client.cli("set", "--ssh")
    new, old = people.alice
    log_in([(new, old), (old, new)], "guest")
    for server in people.alice:
        assert not logs_in(people.bob, server, "guest")
    assert not logs_in(new, people.servers[0], "guest")


def test_a_rule_that_is_taken_back_ends_its_sessions_and_lets_nobody_in(people: People) -> None:
    people.tailnet.set_policy(policy(accept("alice@", "deploy")))
    pairs = alice_at_servers(people)
    log_in(pairs, "deploy")
    sessions = [
        client.host.start(f"ssh-{server.host.name}", *ssh(client, server, "deploy"), "echo in; sleep 300")
        for client, server in pairs
    ]
    for session in sessions:
        session.wait_for("in\n")
    people.tailnet.set_policy(policy())
    until_each("has ended", sessions, lambda session: not session.alive, 2)
    for client, server in pairs:
        assert not logs_in(client, server, "deploy")
        assert client.pings(server.ipv4)


def test_without_a_rule_of_the_network_there_is_no_way_to_the_door(people: People) -> None:
    """`ssh` says who may log in, not who may connect."""
    shut = OWNERS | {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:7001"]}]}
    people.tailnet.set_policy(shut | {"ssh": [accept("alice@", "deploy")]})

    def times_out(pair: tuple[Client, Client]) -> bool:
        login = ssh(*pair, "deploy", "-oConnectTimeout=1")
        return "timed out" in pair[0].host.run(*login, "id", check=False).stderr

    until_each("finds no way", alice_at_servers(people), times_out, 5)
