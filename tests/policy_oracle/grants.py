"""Attributes that the policy gives (section 13), tags (4.4) and routes (11.1) that need no admin."""

from collections.abc import Collection, Iterable
from ipaddress import ip_network
from typing import Any

from tests.policy_oracle.ranges import EXIT_ROUTES, overlap, parse_all
from tests.policy_oracle.selectors import as_sources, belongs
from tests.policy_oracle.world import Device, World

FUNNEL_PORTS = "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000"
FUNNEL_WARNING = "https://tailscale.com/cap/warn-funnel-no-https"
MAY_ANY_TAG = ("owner", "admin", "network-admin")


def attributes(world: World, device: Device) -> set[str]:
    """Names of the capabilities that the policy gives the device itself."""
    found = {"randomize-client-port"} if world.policy.get("randomizeClientPort") else set()
    for entry in world.policy.get("nodeAttrs") or []:
        if is_target(world, entry.get("target") or [], device):
            found |= set(entry.get("attr") or [])
    return found | ({FUNNEL_PORTS, FUNNEL_WARNING} if "funnel" in found else set())


def app_attributes(world: World, device: Device) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for entry in world.policy.get("nodeAttrs") or []:
        if is_target(world, entry.get("target") or [], device):
            for name, values in (entry.get("app") or {}).items():
                found.setdefault(name, []).extend(values)
    return found


def is_target(world: World, words: list[str], device: Device) -> bool:
    meant = as_sources(world, words, {"srcPosture": []}).all_ranges()
    return overlap(meant, parse_all(device.addresses))


def hides_ipv4(world: World, viewer: Device, device: Device) -> bool:
    """Whether the viewer is told of the device (which may be itself) without its IPv4 address."""
    if world.policy.get("disableIPv4"):
        return True
    return any("disable-ipv4" in attributes(world, one) for one in (viewer, device))


def suggests_exit_node(world: World, device: Device) -> bool:
    return device.is_exit_node and "suggest-exit-node" in attributes(world, device)


def owner_words(world: World, tag: str) -> set[str]:
    """All that may apply the tag: owners of the tag, of tags that own it, and so on; with these tags."""
    owners: dict[str, list[str]] = world.policy.get("tagOwners") or {}
    found: set[str] = set()
    open_tags = [tag]
    while open_tags:
        new = set(owners.get(open_tags.pop(), [])) - found
        found |= new
        open_tags += [word for word in new if word.startswith("tag:")]
    return found


def may_have_tags(world: World, asker: Device, held: Collection[str], wanted: Iterable[str]) -> bool:
    """`asker` stands for whoever asks: a device of the user, or one with the tags that are held."""
    defined = world.policy.get("tagOwners") or {}
    return all(tag in defined and _may_have(world, asker, held, tag) for tag in wanted)


def _may_have(world: World, asker: Device, held: Collection[str], tag: str) -> bool:
    words = owner_words(world, tag)
    if tag in held or words & set(held):
        return True
    if asker.user is None:
        return False
    people = [word for word in words if not word.startswith("tag:")]
    return asker.role in MAY_ANY_TAG or any(belongs(world, word, asker) for word in people)


def approves(world: World, route: str, device: Device) -> bool:
    """Whether the route of the device needs no admin."""
    approvers = world.policy.get("autoApprovers") or {}
    if route in EXIT_ROUTES:
        words = approvers.get("exitNode") or []
    else:
        wanted = ip_network(route)
        words = [
            word
            for prefix, some in (approvers.get("routes") or {}).items()
            if _within(wanted, ip_network(prefix, strict=False))
            for word in some
        ]
    return any(belongs(world, word, device) for word in words)


def _within(inner: Any, outer: Any) -> bool:
    return bool(inner.version == outer.version and inner.subnet_of(outer))
