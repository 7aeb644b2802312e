"""How destinations are spelled for the nodes that they name."""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from headscale_saas.policy import spans
from headscale_saas.policy.resolution import Resolution
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.routes import EXIT_ROUTES
from policies import acl, advanced, grant, resolved, rules_at
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


EXIT = make_node(1, tags=("tag:a",), routable_ips=EXIT_ROUTES, approved_routes=EXIT_ROUTES)


PRIVATE = ["add 10.0.0.0/8", "add 172.16.0.0/12", "add 192.168.0.0/16", "add 169.254.0.0/16"]


@pytest.mark.parametrize("via", [{}, {"via": ["tag:a"]}])
@pytest.mark.parametrize("beside", [PRIVATE[:1], PRIVATE])
def test_an_exit_node_is_told_the_internet_also_where_a_set_has_more(
    beside: list[str], via: dict[str, Any]
) -> None:
    sets = {"ipset:more": ["add autogroup:internet", "remove 2000::/3", *beside]}
    resolution = resolved(make_state(EXIT, make_node(2)), grant("user1@", "ipset:more", **via), ipsets=sets)
    wanted = [*map(spans.spelled, spans.difference(spans.INTERNET, spans.of(["2000::/3"])))]
    assert list(told(resolution, EXIT)) == wanted
    printed = (port.ip for rule in resolution.printed(EXIT) for port in rule.dst_ports)
    assert list(printed) == wanted
