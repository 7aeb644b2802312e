"""What a word of the policy stands for in a world: devices, ranges, or both (section 3)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any, NamedTuple

from tests.policy_oracle.postures import fits
from tests.policy_oracle.ranges import EVERYTHING, INTERNET, TAILNET, Range, parse, parse_all, without
from tests.policy_oracle.world import Device, World

ROLES = {
    "autogroup:owner": ("owner",),
    "autogroup:admin": ("owner", "admin"),
    "autogroup:it-admin": ("it-admin",),
    "autogroup:network-admin": ("network-admin",),
    "autogroup:billing-admin": ("billing-admin",),
    "autogroup:auditor": ("auditor",),
}


class Meaning(NamedTuple):
    """Devices meant as such, and ranges that were written (or stand for the word)."""

    devices: list[Device]
    ranges: list[Range]

    def all_ranges(self) -> list[Range]:
        return [*addresses(self.devices), *self.ranges]


def addresses(devices: Iterable[Device]) -> list[Range]:
    return parse_all(address for device in devices for address in device.addresses)


def identity(world: World, word: str) -> list[Device] | None:
    """The devices of a word that names people or tags; None for words about addresses."""
    if _is_about_addresses(word):
        return None
    return [device for device in world.devices if device.usable and belongs(world, word, device)]


def belongs(world: World, word: str, device: Device) -> bool:
    """Whether the device is one of this user, group, tag or autogroup."""
    is_owned = device.user is not None
    if word.startswith("tag:"):
        return word in device.tags
    if word == "autogroup:tagged":
        return bool(device.tags)
    if word in ("autogroup:member", "autogroup:members"):
        return is_owned
    if word.startswith("autogroup:"):
        return is_owned and device.role in ROLES.get(word, ())
    if word.startswith("group:"):
        return any(belongs(world, member, device) for member in world.policy.get("groups", {})[word])
    if word.startswith("user:*@"):
        return is_owned and any(login.endswith("@" + word.removeprefix("user:*@")) for login in device.logins)
    return is_owned and word in device.logins


def as_sources(world: World, words: Iterable[str], rule: Mapping[str, Any]) -> Meaning:
    """All the sources of a rule together. Devices that do not fit its postures are none."""
    devices: list[Device] = []
    ranges: list[Range] = []
    for word in words:
        members = identity(world, word)
        devices += members or []
        if members is None:
            ranges += _source_ranges(world, word)
    unfit = [device for device in world.devices if not fits(world.policy, rule, device)]
    return Meaning([d for d in devices if d not in unfit], without(ranges, addresses(unfit)))


def as_destination(world: World, word: str) -> Meaning:
    """One destination of a rule; `autogroup:self` is not resolved here."""
    members = identity(world, word)
    if members is not None:
        return Meaning(members, [])
    if word == "*":
        return Meaning([], list(EVERYTHING))
    return Meaning([], list(written_ranges(world, word)))


def written_ranges(world: World, word: str) -> Sequence[Range]:
    """Of an address, a prefix, a host, an ipset or the internet: one for each block that was written."""
    if word == "autogroup:internet":
        return INTERNET
    if word.startswith("ipset:"):
        return ipset(world, word)
    hosts = world.policy.get("hosts", {})
    name = word.removeprefix("host:")
    return parse(hosts[name]) if name in hosts else parse(word)


def ipset(world: World, name: str) -> list[Range]:
    """Steps in order, beginning with nothing."""
    result: list[Range] = []
    for step in world.policy["ipsets"][name]:
        word, _, target = step.rpartition(" ")
        ranges = parse(target) if re.match(r"[\d.]+-[\d.]+$", target) else written_ranges(world, target)
        result = without(result, ranges) if word.strip() == "remove" else [*result, *ranges]
    return result


def is_of_internet(world: World, word: str) -> bool:
    """`autogroup:internet`, or an ipset that was shaped from it: then it is for exit nodes, too."""
    steps = world.policy["ipsets"][word] if word.startswith("ipset:") else []
    added = [step.rpartition(" ")[2] for step in steps if not step.startswith("remove ")]
    return word == "autogroup:internet" or any(is_of_internet(world, name) for name in added)


def all_subnets(world: World) -> list[Range]:
    return parse_all(route for device in world.devices for route in device.subnets)


def _source_ranges(world: World, word: str) -> Sequence[Range]:
    if word == "*":
        return [*TAILNET, *all_subnets(world)]
    if word == "autogroup:danger-all":
        return EVERYTHING
    return written_ranges(world, word)


def _is_about_addresses(word: str) -> bool:
    if word in ("*", "autogroup:danger-all", "autogroup:internet"):
        return True
    if word.startswith(("ipset:", "host:")):
        return True
    if "@" in word or word.startswith(("group:", "tag:", "autogroup:")):
        return False
    return _is_prefix(word) or ":" not in word


def _is_prefix(word: str) -> bool:
    try:
        ip_network(word, strict=False)
    except ValueError:
        return False
    return True
