"""Subnet routers and exit nodes: approved by hand or by the policy, they carry what the policy lets pass.

Behind the router is a site, behind the exit node an internet of one host. Nobody asks for either without a
route: that would go to the lab's sink, and count as a leak.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from real.client import NEWEST, OLDEST, Client, Json
from real.host import Host
from real.lab import Lab
from real.reach import answers, serving
from real.scenario import Hosts, Tailnet, label, sees_all
from real.service import Service
from real.wait import together, until, until_each

PORT, OTHER_PORT = 7001, 7002
SITE4, SITE6 = "10.9.1.0/24", "fd77:9:1::/64"
EXIT_ROUTES = "0.0.0.0/0,::/0"
ROUTER_RULE = {"action": "accept", "src": ["*"], "dst": ["autogroup:member:22"]}


class World(NamedTuple):
    """Alice owns the router, the exit node and two clients, Bob one client."""

    lab: Lab
    tailnet: Tailnet
    router: Client
    exit: Client
    new: Client
    old: Client
    bobs: Client
    site: Host
    internet: Host


@pytest.fixture(scope="module")
def world(lab: Lab, service: Service, machines: Hosts, numbers: Iterator[int]) -> Iterator[World]:
    tailnet = Tailnet(service, machines, f"net{next(numbers)}")
    try:
        key = tailnet.auth_key(tailnet.create_user("alice"), "--reusable")
        router, exit_, new, old = tailnet.join(key, (NEWEST, NEWEST, NEWEST, OLDEST))
        [bobs] = tailnet.join(tailnet.auth_key(tailnet.create_user("bob")), [NEWEST])
        sees_all(tailnet.clients)
        # Bob's only pretends to be a router; if it could not, the client would look for a captive portal.
        bobs.host.forward()
        with (
            lab.behind(router.host, "site", "10.9.1.80/24", "fd77:9:1::80/64") as site,
            lab.behind(exit_.host, "internet", "203.0.113.80/24", "2001:db8:113::80/64") as internet,
            serving(site, internet, port=PORT),
            serving(site, internet, port=OTHER_PORT),
        ):
            yield World(lab, tailnet, router, exit_, new, old, bobs, site, internet)
    finally:
        machines.take_back()


def accept(source: str, *destinations: str) -> Json:
    return {"action": "accept", "src": [source], "dst": list(destinations)}


def site_rules(source: str, port: int) -> Json:
    return accept(source, f"{SITE4}:{port}", f"{SITE6}:{port}")


def has_route(viewer: Client, host: Host) -> bool:
    """Whether its packets to the host enter the tunnel, by both families."""
    ways = [viewer.host.run("ip", "route", "get", a).stdout for a in (host.address, host.address6)]
    through = {"tailscale0" in way for way in ways}
    assert len(through) == 1, ways
    return through.pop()


def carries(viewer: Client, router: Client, host: Host, port: int = PORT) -> bool:
    """Whether the host answers by both addresses. It must have been asked by the router."""
    assert has_route(viewer, host)
    said = answers(viewer.host, port, host.address, host.address6)
    if said == ["", ""]:
        return False
    own = {router.host.address, router.host.address6, *router.addresses()}
    assert all(name == host.name and asker in own for name, asker in map(str.split, said)), said
    return True


def approve(world: World, router: Client, routes: str) -> None:
    world.tailnet.cli("nodes", "approve-routes", "-i", world.tailnet.node_id(router), "-r", routes)


def advertise(router: Client, *flags: str) -> None:
    router.cli("set", *flags)


def test_a_route_that_is_approved_by_hand_carries_what_the_rules_let_pass(world: World) -> None:
    rules = [site_rules("alice@", PORT), accept("bob@", f"{world.router.ipv4}:22")]
    world.tailnet.set_policy({"acls": rules})
    advertise(world.router, f"--advertise-routes={SITE4},{SITE6}")
    until("the routes to be known", lambda: SITE6 in world.tailnet.cli("nodes", "list-routes"), 5)
    assert not any(has_route(viewer, world.site) for viewer in (world.new, world.old))

    approve(world, world.router, f"{SITE4},{SITE6}")
    until_each("has the route", [world.new, world.old], lambda c: has_route(c, world.site), 5)
    until_each("is answered", [world.new, world.old], lambda c: carries(c, world.router, world.site), 5)
    assert not any(carries(c, world.router, world.site, OTHER_PORT) for c in (world.new, world.old))


def test_a_viewer_whom_no_rule_lets_there_gets_no_route(world: World) -> None:
    peer = world.bobs.peers()[label(world.router)]
    assert peer["AllowedIPs"] == [f"{world.router.ipv4}/32", f"{world.router.ipv6}/128"]
    assert not peer.get("PrimaryRoutes")
    assert not has_route(world.bobs, world.site)
    assert SITE4 in world.new.peers()[label(world.router)]["PrimaryRoutes"]


def test_the_router_lets_each_pass_to_the_ports_of_his_rule(world: World) -> None:
    world.tailnet.set_policy({"acls": [site_rules("alice@", PORT), site_rules("bob@", OTHER_PORT)]})
    until("Bob has the route", lambda: has_route(world.bobs, world.site), 5)
    until("Bob is answered", lambda: carries(world.bobs, world.router, world.site, OTHER_PORT), 5)
    assert not carries(world.bobs, world.router, world.site, PORT)
    assert carries(world.new, world.router, world.site, PORT)
    assert not carries(world.new, world.router, world.site, OTHER_PORT)


def test_a_route_that_is_no_longer_approved_is_gone(world: World) -> None:
    viewers = [world.new, world.old, world.bobs]
    until_each("has the route", viewers, lambda viewer: has_route(viewer, world.site), 5)
    approve(world, world.router, "")
    until_each("has lost the route", viewers, lambda viewer: not has_route(viewer, world.site), 5)


def test_the_policy_approves_routes_of_those_it_names(world: World) -> None:
    advertise(world.router, "--advertise-routes=")
    approvers = {"routes": {"10.9.0.0/16": ["alice@"], SITE6: ["alice@"]}}
    world.tailnet.set_policy({"acls": [site_rules("*", PORT)], "autoApprovers": approvers})
    advertise(world.router, f"--advertise-routes={SITE4},{SITE6}")
    advertise(world.bobs, "--advertise-routes=10.9.7.0/24")
    until_each("has the route", [world.new, world.old], lambda c: has_route(c, world.site), 5)
    until("it carries", lambda: carries(world.old, world.router, world.site), 5)
    until("Bob's to be known", lambda: "10.9.7.0/24" in world.tailnet.cli("nodes", "list-routes"), 5)
    assert "10.9.7.0/24" not in json_of(world.new)
    advertise(world.bobs, "--advertise-routes=")


def json_of(viewer: Client) -> str:
    return viewer.cli("status", "--json")


def test_an_exit_node_carries_everything_and_nothing_leaves_by_another_way(world: World) -> None:
    world.tailnet.set_policy({"acls": [ROUTER_RULE, accept("alice@", f"autogroup:internet:{PORT}")]})
    advertise(world.exit, "--advertise-exit-node")
    until("it to be known", lambda: "0.0.0.0/0" in world.tailnet.cli("nodes", "list-routes"), 5)
    assert "no exit nodes found" in world.new.refuses("exit-node", "list")

    approve(world, world.exit, EXIT_ROUTES)
    viewers = [world.new, world.old]
    until_each("is offered it", viewers, lambda viewer: offers_exit(world.exit, viewer), 5)
    together(lambda viewer: viewer.cli("set", f"--exit-node={label(world.exit)}"), viewers)
    until_each("has it in the way", viewers, lambda viewer: has_route(viewer, world.internet), 5)
    until_each("is answered", viewers, lambda c: carries(c, world.exit, world.internet), 5)
    assert not any(carries(viewer, world.exit, world.internet, OTHER_PORT) for viewer in viewers)
    assert not world.lab.leaks()


def offers_exit(node: Client, viewer: Client) -> bool:
    return bool(viewer.peers()[label(node)].get("ExitNodeOption"))


def test_who_may_not_go_to_the_internet_is_offered_no_exit_node(world: World) -> None:
    peer = world.bobs.peers()[label(world.exit)]
    assert peer["AllowedIPs"] == [f"{world.exit.ipv4}/32", f"{world.exit.ipv6}/128"]
    assert not peer["ExitNodeOption"]
    assert "not advertising an exit node" in world.bobs.refuses("set", f"--exit-node={label(world.exit)}")


def test_when_the_policy_takes_the_internet_away_nothing_leaves_at_all(world: World) -> None:
    world.tailnet.set_policy({"acls": [ROUTER_RULE]})
    viewers = [world.new, world.old]
    until_each("is answered no more", viewers, lambda c: not carries(c, world.exit, world.internet), 5)
    assert not any(offers_exit(world.exit, viewer) for viewer in viewers)
    assert not world.lab.leaks()
    for viewer in viewers:
        viewer.cli("set", "--exit-node=")


def test_the_policy_approves_exit_nodes_of_those_it_names(world: World) -> None:
    advertise(world.exit, "--advertise-exit-node=false")
    approve(world, world.exit, "")
    everyone = accept("*", f"autogroup:internet:{PORT}")
    world.tailnet.set_policy({"acls": [everyone], "autoApprovers": {"exitNode": ["alice@"]}})
    for node in (world.exit, world.bobs):
        advertise(node, "--advertise-exit-node")
    until("it to be offered", lambda: offers_exit(world.exit, world.old), 5)
    world.old.cli("set", f"--exit-node={label(world.exit)}")
    until("it to carry", lambda: carries(world.old, world.exit, world.internet), 5)
    assert label(world.bobs) not in world.old.peers()
    assert not world.lab.leaks()
