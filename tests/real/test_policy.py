"""Who sees and reaches whom under a policy: own devices, groups, tags.

Every test sets the policy that it is about. Alice and Bob have a newest and an oldest client each, the server
is tagged.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from real.client import NEWEST, OLDEST, Client, Json
from real.reach import reached, serving
from real.scenario import Hosts, Tailnet, label, pairs, sees_all
from real.service import Service
from real.wait import until_each

PORT, OTHER_PORT = 7001, 7002
OWNERS = {"groups": {"group:ops": ["alice@"]}, "tagOwners": {"tag:server": ["group:ops"], "tag:db": []}}


class People(NamedTuple):
    """Two devices of each of two users, and one of nobody's."""

    tailnet: Tailnet
    alice: list[Client]
    bob: list[Client]
    server: Client

    @property
    def all(self) -> list[Client]:
        return [*self.alice, *self.bob, self.server]


@pytest.fixture(scope="module")
def people(service: Service, machines: Hosts, numbers: Iterator[int]) -> Iterator[People]:
    tailnet = Tailnet(service, machines, f"net{next(numbers)}")
    try:
        keys = {name: tailnet.auth_key(tailnet.create_user(name), "--reusable") for name in ("alice", "bob")}
        alice, bob = (tailnet.join(keys[name], (NEWEST, OLDEST)) for name in ("alice", "bob"))
        [server] = tailnet.join(tailnet.auth_key("1", "--tags", "tag:server"), [NEWEST])
        sees_all(tailnet.clients)
        hosts = [client.host for client in tailnet.clients]
        with serving(*hosts, port=PORT), serving(*hosts, port=OTHER_PORT):
            yield People(tailnet, alice, bob, server)
    finally:
        machines.take_back()


def accept(*sources: str, to: str) -> Json:
    return {"action": "accept", "src": list(sources), "dst": [to]}


def each(clients: list[Client], target: Client) -> dict[Client, list[Client]]:
    return {client: [target] for client in clients}


def see(people: People, seen: dict[Client, list[Client]], seconds: float = 5) -> None:
    """Waits until each client has exactly these peers, and the others none."""

    def has_its_peers(client: Client) -> bool:
        return set(client.peers()) == {label(peer) for peer in seen.get(client, [])}

    until_each("sees its peers alone", people.all, has_its_peers, seconds)


TUNNEL_SECONDS = 12
"""A handshake of WireGuard that came before its peer was configured is tried again after 5 s."""


def reach(people: People, wanted: dict[Client, list[Client]], port: int = PORT) -> None:
    """Waits until each client reaches these on the port and the others nobody."""

    def reaches_them_alone(client: Client) -> bool:
        others = [other for other in people.all if other is not client]
        return reached(client, others, port) == set(wanted.get(client, []))

    until_each("reaches those that it may", people.all, reaches_them_alone, TUNNEL_SECONDS)


def test_own_devices_reach_each_other_and_are_all_that_one_sees(people: People) -> None:
    people.tailnet.set_policy({"acls": [accept("autogroup:member", to="autogroup:self:*")]})
    own = {one: [other] for one, other in [*pairs(people.alice), *pairs(people.bob)]}
    see(people, own)
    reach(people, own)


def test_a_group_reaches_a_tagged_server_on_the_port_of_the_rule_and_not_the_other_way(
    people: People,
) -> None:
    rule = accept("group:ops", to=f"tag:server:{PORT}")
    people.tailnet.set_policy(OWNERS | {"acls": [rule]})
    see(people, {people.server: people.alice} | each(people.alice, people.server))
    reach(people, each(people.alice, people.server))
    reach(people, {}, OTHER_PORT)

    people.tailnet.set_policy(OWNERS | {"acls": [rule], "groups": {"group:ops": ["bob@"]}})
    see(people, {people.server: people.bob} | each(people.bob, people.server))
    reach(people, each(people.bob, people.server))


def test_another_tag_is_another_server(people: People) -> None:
    rules = [accept("alice@", to="tag:server:*"), accept("bob@", to="tag:db:*")]
    people.tailnet.set_policy(OWNERS | {"acls": rules})
    see(people, {people.server: people.alice} | each(people.alice, people.server))
    node = people.tailnet.node_id(people.server)
    people.tailnet.cli("nodes", "tag", "-i", node, "-t", "tag:db")
    see(people, {people.server: people.bob} | each(people.bob, people.server))
    reach(people, each(people.bob, people.server))
    people.tailnet.cli("nodes", "tag", "-i", node, "-t", "tag:server")
    see(people, {people.server: people.alice} | each(people.alice, people.server))


def test_peers_vanish_and_come_back_with_the_policy(people: People) -> None:
    everyone = {one: [other for other in people.all if other is not one] for one in people.all}
    people.tailnet.set_policy({"acls": [accept("*", to="*:*")]})
    see(people, everyone)
    people.tailnet.set_policy({"acls": []})
    see(people, {})
    reach(people, {})
    people.tailnet.set_policy({"acls": [accept("*", to="*:*")]})
    see(people, everyone)
    reach(people, everyone)
