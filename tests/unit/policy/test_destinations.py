"""How destinations are spelled for the nodes that they name."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from headscale_saas.policy.resolution import Resolution
from headscale_saas.tailnet.model import Node, NodeId
from policies import acl, advanced, resolved, rules_at
from tailnets import make_node, make_state, with_nodes

PLAIN = make_node(1, tags=("tag:a",))
CONNECTOR = replace(PLAIN, hostinfo=replace(PLAIN.hostinfo, app_connector=True))
ROUTER = replace(PLAIN, hostinfo=replace(PLAIN.hostinfo, routable_ips=("10.0.0.0/8",)))
OWN = ["100.64.0.1", "fd7a:115c:a1e0::1"]


def told(resolution: Resolution, node: Node) -> Iterator[str]:
    return (port.ip for rule in rules_at(resolution, node) for port in rule.dst_ports)


@pytest.mark.parametrize(("node", "texts"), [(PLAIN, ["*"]), (CONNECTOR, OWN), (ROUTER, OWN)])
def test_only_nodes_that_take_packets_to_nothing_else_are_told_anywhere(node: Node, texts: list[str]) -> None:
    resolution = resolved(make_state(node, make_node(2)), acl("user1@", "tag:a:53"))
    assert list(told(resolution, node)) == texts


@pytest.mark.parametrize(("node", "texts"), [(CONNECTOR, OWN), (ROUTER, OWN)])
def test_a_node_that_begins_to_take_more_is_told_otherwise(node: Node, texts: list[str]) -> None:
    before = make_state(PLAIN, make_node(2))
    resolution = resolved(before, acl("user1@", "tag:a:53"))
    after = with_nodes(before, node)
    assert list(told(advanced(resolution, before, after, NodeId(1)), node)) == texts
