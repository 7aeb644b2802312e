"""Joining without a key: the client prints a URL, somebody approves it."""

from real.client import NEWEST, OLDEST, Client, Login
from real.scenario import Tailnet, all_ping, everything, label
from real.wait import together, until

BOTH = (NEWEST, OLDEST)


def approve(tailnet: Tailnet, user: str, login: Login) -> None:
    """What the page behind the URL tells an administrator to type."""
    auth_id = login.url.rstrip("/").rpartition("/")[2]
    assert auth_id.startswith("hskey-authreq-"), login.url
    tailnet.cli("auth", "register", "--user", user, "--auth-id", auth_id)
    login.finish()


def log_in(tailnet: Tailnet, user: str, clients: list[Client], *flags: str) -> None:
    logins = together(lambda client: client.login(*flags), clients)
    together(lambda login: approve(tailnet, user, login), logins)


def test_an_approved_login_joins(tailnet: Tailnet) -> None:
    tailnet.create_user("alice")
    clients = tailnet.machines(BOTH)
    log_in(tailnet, "alice", clients)
    all_ping(clients, everything)
    assert [node["user"]["name"] for node in tailnet.nodes().values()] == ["alice", "alice"]


def test_the_same_user_comes_back_to_the_same_nodes(tailnet: Tailnet) -> None:
    tailnet.create_user("alice")
    clients = tailnet.machines(BOTH)
    log_in(tailnet, "alice", clients)
    before = {client: (tailnet.node_id(client), client.addresses()) for client in clients}
    keys = {client.node_key() for client in clients}
    together(Client.logout, clients)
    log_in(tailnet, "alice", clients)
    assert {client: (tailnet.node_id(client), client.addresses()) for client in clients} == before
    assert not keys & {client.node_key() for client in clients}
    all_ping(clients, everything)


def test_another_user_leaves_the_old_nodes_behind_offline(tailnet: Tailnet) -> None:
    tailnet.create_user("alice")
    tailnet.create_user("bob")
    clients = tailnet.machines(BOTH)
    log_in(tailnet, "alice", clients)
    old = {label(client) for client in clients}
    together(Client.logout, clients)
    log_in(tailnet, "bob", clients)
    all_ping(clients, everything)
    nodes = tailnet.nodes()
    assert {name for name, node in nodes.items() if node["user"]["name"] == "alice"} == old
    assert {name for name, node in nodes.items() if node["user"]["name"] == "bob"} == set(map(label, clients))
    until(
        "the old ones to be offline", lambda: not any(tailnet.nodes()[name].get("online") for name in old), 20
    )
