"""Questions about a tailnet under a policy: to the engine, to the oracle, to what clients were sent."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from tests.policy_oracle import Device, World, client, reach
from tests.policy_oracle.ranges import contain, parse_all
from tests.policy_oracle.rules import Rule

from headscale_saas.policy import Compiled, Filters
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.filters import FilterRule
from headscale_saas.tailnet.model import Node
from headscale_saas.tailnet.state import TailnetState

PORTS = (1, 22, 53, 80, 85, 443, 444, 65535)
STRANGERS = ("10.33.7.5", "10.33.200.1", "10.1.1.1", "192.168.1.9", "8.8.8.8", "1.1.1.1", "fd00:1::5")
"""Addresses of no node: behind the routers, or anywhere."""

Verdicts = dict[tuple[str, str], set[tuple[int, int]]]
"""By source and destination: protocols and ports that are open."""


def wire_rules(filters: Filters) -> list[FilterRule]:
    return [rule for name in sorted(filters) for rule in filters[name]]


def as_json(value: object) -> Any:
    return msgspec.json.decode(encode(value))


def probes(world: World, device: Device) -> Iterator[tuple[str, str]]:
    """Pairs of source and destination that can be told apart at this device."""
    sources = [address for other in world.devices if other.usable for address in other.addresses]
    for destination in [*device.addresses, *within(device.advertised)]:
        for source in [*sources, *STRANGERS]:
            if (":" in source) == (":" in destination):
                yield source, destination


def within(routes: Iterable[str]) -> list[str]:
    """Some addresses that a router of these passes on."""
    ranges = parse_all(routes)
    return [address for address in (*STRANGERS, "2001:4860::1") if contain(ranges, address)]


def verdicts(rules: Iterable[Rule], pairs: Iterable[tuple[str, str]]) -> Verdicts:
    rules = list(rules)
    return {pair: opened for pair in pairs if (opened := reach.opened(rules, *pair, ports=PORTS))}


def engine_verdicts(compiled: Compiled, world: World, node: Node) -> Verdicts:
    """What clients make of the engine's filter."""
    wire = as_json(wire_rules(compiled.filters(compiled.audience(node))))
    return verdicts(client.rules_of(wire), probes(world, world.device(node.id)))


def oracle_verdicts(world: World, node: Node) -> Verdicts:
    device = world.device(node.id)
    return verdicts(reach.entries_at(world, device), probes(world, device))


def pairs_of(state: TailnetState) -> Iterator[tuple[Node, Node]]:
    """Every usable viewer with every other usable node."""
    usable = [node for node in state.nodes.values() if node.authorized and not node.expired]
    yield from ((a, b) for a in usable for b in usable if a is not b)


def answers(compiled: Compiled, state: TailnetState) -> dict[str, Any]:
    """All that can be asked of a policy, for comparison."""
    nodes = state.nodes.values()
    kinds = {node.id: compiled.audience(node) for node in nodes}
    return {
        "classes": sorted(sorted(i for i in kinds if kinds[i] == kind) for kind in set(kinds.values())),
        "filters": {node.id: as_json(dict(compiled.filters(kinds[node.id]))) for node in nodes},
        "ssh": {node.id: as_json(compiled.ssh_policy(kinds[node.id])) for node in nodes},
        "attributes": {node.id: as_json(compiled.node_attributes(node)) for node in nodes},
        "served": {node.id: compiled.served_routes(node) for node in nodes},
        "peers": {
            (i, peer.id): told_of(compiled, kinds[i], peer) for i in kinds for peer in nodes if peer.id != i
        },
    }


def told_of(compiled: Compiled, audience: Any, peer: Node) -> Any:
    """How viewers are told of a peer; None if they are not."""
    if not compiled.sees(audience, peer):
        return None
    attributes = as_json(compiled.peer_attributes(audience, peer))
    return compiled.peer_routes(audience, peer), attributes, compiled.hides_ipv4(audience, peer)


def described(state: TailnetState) -> str:
    """The policy, and all that distinguishes the nodes, for whoever has to find out why a law is broken."""
    lines = [state.policy_text or "no policy"]
    for node in state.nodes.values():
        owner = state.users[node.user_id] if node.user_id is not None else None
        whose = f"{owner.login_name or owner.name} ({owner.role})" if owner else " ".join(node.tags)
        flags = [name for name in ("online", "expired", "authorized") if getattr(node, name)]
        routes = f"advertises {node.hostinfo.routable_ips}, approved {node.approved_routes}"
        lines.append(
            f"node {node.id}: {whose}, {node.ipv4} {node.ipv6}, {routes}, {node.hostinfo.os} {flags}"
        )
    return "\n".join(lines)
