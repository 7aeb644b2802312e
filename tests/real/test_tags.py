"""Tags that devices ask for: a policy says who may have which."""

import pytest

from real.client import NEWEST, OLDEST, Client
from real.host import CommandError
from real.scenario import Tailnet, label
from real.test_web_flow import approve
from real.wait import together, until_each

BOTH = (NEWEST, OLDEST)
ASK = "--advertise-tags=tag:server"
REFUSED = r"requested tags \[tag:server\] are invalid or not permitted"
POLICY = {
    "groups": {"group:ops": ["alice@"]},
    "tagOwners": {"tag:server": ["group:ops"]},
    "acls": [{"action": "accept", "src": ["bob@"], "dst": ["tag:server:22"]}],
}


def waiting(tailnet: Tailnet) -> list[Client]:
    """Machines of a tailnet of Alice and Bob, where the policy lets Alice make servers."""
    tailnet.create_user("alice")
    tailnet.create_user("bob")
    tailnet.set_policy(POLICY)
    return tailnet.machines(BOTH)


def test_an_owner_gets_the_tag_that_is_asked_for_and_nobody_else(tailnet: Tailnet) -> None:
    clients = waiting(tailnet)
    logins = together(lambda client: client.login(ASK), clients)
    for login in logins:
        with pytest.raises(CommandError, match=REFUSED):
            approve(tailnet, "bob", login)
        assert login.process.alive
        approve(tailnet, "alice", login)
    assert [client.status()["Self"]["Tags"] for client in clients] == [["tag:server"]] * 2
    assert all(node["tags"] == ["tag:server"] for node in tailnet.nodes().values())


def test_a_user_who_may_not_have_the_tag_comes_in_without(tailnet: Tailnet) -> None:
    clients = waiting(tailnet)
    key = tailnet.auth_key("2", "--reusable")

    def is_refused(client: Client) -> None:
        with pytest.raises(CommandError, match=REFUSED):
            client.up(key, ASK, seconds=10)

    together(is_refused, clients)
    assert not tailnet.nodes()
    together(lambda client: client.up(key, "--advertise-tags="), clients)
    assert not any(client.status()["Self"].get("Tags") for client in clients)


def test_a_tagged_device_is_its_tags_and_no_longer_its_users(tailnet: Tailnet) -> None:
    """The rule is for servers: devices of Alice that are none are invisible to Bob."""
    clients = waiting(tailnet)
    together(lambda client: client.up(tailnet.auth_key("1")), clients)
    [bobs] = tailnet.join(tailnet.auth_key("2"), [NEWEST])
    assert not bobs.peers()
    login = clients[0].login(ASK, "--force-reauth")
    approve(tailnet, "alice", login)
    until_each("sees the server", [bobs], lambda client: set(client.peers()) == {label(clients[0])}, 5)
