"""Joining with auth keys, leaving, and coming back."""

import pytest

from real.client import NEWEST, OLDEST, Client
from real.host import CommandError
from real.scenario import Tailnet, all_ping, by_address, label, sees_all
from real.wait import together, until_each

BOTH = (NEWEST, OLDEST)


def facts(tailnet: Tailnet, client: Client) -> tuple[str, list[str]]:
    """What must survive a login of the same user: node id and addresses."""
    return tailnet.node_id(client), client.addresses()


def log_out(clients: list[Client]) -> None:
    together(Client.logout, clients)
    until_each("needs a login", clients, lambda client: client.status()["BackendState"] == "NeedsLogin", 20)


def test_the_same_user_comes_back_to_the_same_node_with_a_new_key(tailnet: Tailnet) -> None:
    user = tailnet.create_user("alice")
    clients = tailnet.join(tailnet.auth_key(user, "--reusable"), BOTH)
    sees_all(clients)
    before = [facts(tailnet, client) for client in clients]
    keys = [client.node_key() for client in clients]
    log_out(clients)
    again = tailnet.auth_key(user, "--reusable")
    together(lambda client: client.up(again), clients)
    all_ping(clients, by_address)
    assert [facts(tailnet, client) for client in clients] == before
    assert not set(keys) & {client.node_key() for client in clients}
    assert len(tailnet.nodes()) == 2


def test_another_user_gets_new_nodes_and_the_old_ones_stay(tailnet: Tailnet) -> None:
    alice, bob = tailnet.create_user("alice"), tailnet.create_user("bob")
    clients = tailnet.join(tailnet.auth_key(alice, "--reusable"), BOTH)
    before = {node["id"] for node in tailnet.nodes().values()}
    log_out(clients)
    key = tailnet.auth_key(bob, "--reusable")
    together(lambda client: client.up(key), clients)
    all_ping(clients, by_address)
    nodes = tailnet.nodes().values()
    assert before < {node["id"] for node in nodes}
    assert sorted(node["user"]["name"] for node in nodes) == ["alice", "alice", "bob", "bob"]


def test_an_expired_key_is_refused_with_a_reason(tailnet: Tailnet) -> None:
    user = tailnet.create_user("alice")
    [client] = tailnet.join(tailnet.auth_key(user), [NEWEST])
    log_out([client])
    key = tailnet.auth_key(user, "--reusable")
    [listed] = [
        each for each in tailnet.ask("preauthkeys", "list") if key.startswith(each["key"].split("*")[0])
    ]
    tailnet.cli("preauthkeys", "expire", "-i", str(listed["id"]))
    with pytest.raises(CommandError, match="expired"):
        client.up(key, seconds=15)
    assert not client.running


def test_a_single_use_key_is_refused_to_a_second_machine(tailnet: Tailnet) -> None:
    key = tailnet.auth_key(tailnet.create_user("alice"))
    tailnet.join(key, [NEWEST])
    [late] = tailnet.machines([OLDEST])
    with pytest.raises(CommandError, match="used"):
        late.up(key, seconds=15)
    assert len(tailnet.nodes()) == 1


def test_a_node_outlives_the_key_it_joined_with(tailnet: Tailnet) -> None:
    key = tailnet.auth_key(tailnet.create_user("alice"), "--reusable")
    clients = tailnet.join(key, BOTH)
    all_ping(clients, by_address)
    before = [facts(tailnet, client) for client in clients]
    [listed] = tailnet.ask("preauthkeys", "list")
    tailnet.cli("preauthkeys", "delete", "-i", str(listed["id"]))
    together(Client.restart, clients)
    until_each("runs again", clients, lambda client: client.running, 20)
    all_ping(clients, by_address)
    assert [facts(tailnet, client) for client in clients] == before


def test_a_tagged_key_makes_tagged_nodes(tailnet: Tailnet) -> None:
    user = tailnet.create_user("alice")
    [tagged] = tailnet.join(tailnet.auth_key(user, "--tags", "tag:server"), [NEWEST], prefix="tagged")
    [person] = tailnet.join(tailnet.auth_key(user), [OLDEST])
    all_ping([tagged, person], by_address)
    assert tailnet.nodes()[label(tagged)]["tags"] == ["tag:server"]
    assert tagged.status()["Self"]["Tags"] == ["tag:server"]
    assert person.peers()[label(tagged)]["Tags"] == ["tag:server"]
    assert person.whois(tagged.ipv4)["Node"]["Tags"] == ["tag:server"]
    assert tagged.whois(person.ipv4)["UserProfile"]["LoginName"].startswith("alice")


def test_devices_that_were_deleted_while_they_were_off_come_back_with_new_node_keys(tailnet: Tailnet) -> None:
    user = tailnet.create_user("alice")
    key = tailnet.auth_key(user, "--reusable")
    clients = tailnet.join(key, BOTH)
    before = {client.node_key() for client in clients}
    gone = {node["id"] for node in tailnet.nodes().values()}
    together(Client.stop, clients)
    for node in gone:
        tailnet.cli("nodes", "delete", "-i", str(node), "--force")
    together(Client.start, clients)
    until_each("needs a login", clients, lambda client: client.status()["BackendState"] == "NeedsLogin", 20)
    together(lambda client: client.up(key), clients)
    all_ping(clients, by_address)
    assert not before & {client.node_key() for client in clients}
    assert not gone & {node["id"] for node in tailnet.nodes().values()}
