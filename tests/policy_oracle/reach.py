"""Who sees whom with which routes, what may come in where (sections 9, 10.4, 11)."""

from collections.abc import Collection, Iterable
from typing import Any

from tests.policy_oracle.ranges import (
    EXIT_ROUTES,
    INTERNET,
    Range,
    contain,
    cover,
    overlap,
    parse,
    parse_all,
)
from tests.policy_oracle.rules import Entry, Grant, Rule, grants_of, rules_for, via_ranges
from tests.policy_oracle.selectors import as_destination, as_sources, is_of_internet
from tests.policy_oracle.world import Device, World, elected

# --- who sees whom ---


def is_source(sources: Iterable[Range], device: Device) -> bool:
    """A router speaks for its subnets."""
    return overlap(sources, parse_all([*device.addresses, *device.subnets]))


def is_destination(rule: Rule, device: Device) -> bool:
    if overlap(rule.destinations, parse_all([*device.addresses, *device.subnets])):
        return True
    return device.is_exit_node and (rule.is_of_internet or covers_internet(rule.destinations))


def covers_internet(destinations: Collection[Range]) -> bool:
    return any(cover(destinations, whole) for whole in (INTERNET, *([one] for one in parse_all(EXIT_ROUTES))))


def connects(rule: Rule, source: Device, destination: Device) -> bool:
    return is_source(rule.sources, source) and is_destination(rule, destination)


def visible(world: World, a: Device, b: Device) -> bool:
    """Whether they are told of each other, if both are usable."""
    rules = [*rules_for(world, a), *rules_for(world, b)]
    return any(connects(rule, a, b) or connects(rule, b, a) for rule in rules)


# --- routes ---


def shown_routes(world: World, viewer: Device, peer: Device) -> set[str]:
    """Which routes of a visible peer the viewer is told of."""
    shown = {route for route in world.served_by(peer) if _is_shown(world, viewer, route)}
    return steered(world, viewer, peer, shown)


def _is_shown(world: World, viewer: Device, route: str) -> bool:
    if route in viewer.live_routes:
        return True
    return any(
        (is_source(rule.sources, viewer) and leads_to(rule, route))
        or (route not in EXIT_ROUTES and overlap(rule.sources, parse(route)) and is_destination(rule, viewer))
        for rule in rules_for(world, viewer)
    )


def leads_to(rule: Rule, route: str) -> bool:
    """Exit routes are only for those who may use all of the internet."""
    if route in EXIT_ROUTES:
        return rule.is_of_internet or covers_internet(rule.destinations)
    return overlap(rule.destinations, parse(route))


def steered(world: World, viewer: Device, peer: Device, shown: set[str]) -> set[str]:
    """`via`: which routers serve a grant (11.5)."""
    included: set[str] = set()
    excluded: set[str] = set()
    ordinary: set[str] = set()
    grants = [grant for grant in grants_of(world) if _is_for(world, grant, viewer)]
    for grant in grants:
        if grant.via:
            include, exclude = _pinned(world, grant, peer)
            included |= include
            excluded |= exclude
    for grant in grants:
        if not grant.via:
            ordinary |= {route for route in peer.live_routes if _allows(world, grant, viewer, route)}
    mine = world.served_by(peer)
    kept = shown - (excluded - ordinary)
    return kept | {route for route in included if route in mine or route not in ordinary}


def _is_for(world: World, grant: Grant, viewer: Device) -> bool:
    return is_source(as_sources(world, grant.sources, grant.entry).all_ranges(), viewer)


def _pinned(world: World, grant: Grant, peer: Device) -> tuple[set[str], set[str]]:
    """Routes of the peer that the grant gives to its sources, and those that it takes from them."""
    routes = {route for route in peer.live_routes if _may_lead_via(world, grant, route)}
    tagged = [device for device in world.devices if set(grant.via) & set(device.tags)]
    if peer not in tagged:
        return set(), routes
    mine = {route for route in routes if route in EXIT_ROUTES or elected(route, tagged) is peer}
    return mine, routes - mine


def _may_lead_via(world: World, grant: Grant, route: str) -> bool:
    if route in EXIT_ROUTES:
        return any(is_of_internet(world, word) for word in grant.destinations)
    return any(overlap(via_ranges(world, word), parse(route)) for word in grant.destinations)


def _allows(world: World, grant: Grant, viewer: Device, route: str) -> bool:
    words = [word for word in grant.destinations if word != "autogroup:self"]
    ranges = [one for word in words for one in as_destination(world, word).all_ranges()]
    of_internet = any(is_of_internet(world, word) for word in words)
    return leads_to(Rule([], holders=ranges, is_of_internet=of_internet), route)


# --- what may come in ---


def entries_at(world: World, device: Device) -> list[Rule]:
    """The rules of a device with only those targets that concern it (section 9)."""
    if not device.usable:
        return []
    rules = rules_for(world, device)
    return [rule._replace(targets=[t for t in rule.targets if _concerns(t[0], device)]) for rule in rules]


def _concerns(where: Entry, device: Device) -> bool:
    if overlap(where, parse_all([*device.addresses, *device.subnets])):
        return True
    return device.is_exit_node and cover(INTERNET, where)


def opened(
    rules: Iterable[Rule],
    source: str,
    destination: str,
    protocols: Collection[int] = (1, 6, 17, 58, 132, 47),
    ports: Collection[int] = (),
) -> set[tuple[int, int]]:
    """Which of these packets, the first of a flow, a client with these rules lets in (section 17)."""
    spans = [
        (rule.protocols, span)
        for rule in rules
        if contain(rule.sources, source)
        for where, span in rule.targets
        if contain(where, destination)
    ]
    return {
        (protocol, port)
        for protocol in protocols
        for port in ports
        if any(fits(allowed, span, protocol, port, destination) for allowed, span in spans)
    }


def fits(
    protocols: frozenset[int], ports: tuple[int, int], protocol: int, port: int, destination: str
) -> bool:
    """Whether a target that leads to this address is about this packet."""
    if protocol == (58 if ":" in destination else 1):
        return True  # an echo request: any open port will do
    if protocol not in protocols:
        return False
    return ports[0] <= port <= ports[1] if protocol in (6, 17, 132) else ports == (0, 65535)


def capabilities(world: World, device: Device, peer: Device) -> dict[str, list[Any]]:
    """What the peer may do at the device, as applications there are told (10.4)."""
    return united(rules_for(world, device) if device.usable else [], device, peer)


def united(rules: Iterable[Rule], device: Device, peer: Device) -> dict[str, list[Any]]:
    """The capabilities of all rules that are about both, in the order of the rules."""
    found: dict[str, list[Any]] = {}
    for rule in rules:
        if any(_is_about(rule, device, peer, family) for family in ".:"):
            for name, values in rule.capabilities.items():
                found.setdefault(name, []).extend(values or [])
    return found


def _is_about(rule: Rule, device: Device, peer: Device, family: str) -> bool:
    here, there = (parse_all(a for a in one.addresses if family in a) for one in (device, peer))
    return overlap(rule.holders, here) and overlap(rule.sources, there)
