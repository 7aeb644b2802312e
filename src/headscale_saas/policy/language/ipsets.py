"""`ipsets`: address sets built step by step."""

import re
from collections.abc import Mapping
from ipaddress import ip_address

from headscale_saas.policy.language.document import IpsetStep
from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.places import IPSET_TARGET
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.selectors import Kind, Selector
from headscale_saas.policy.language.shapes import items, members, string
from headscale_saas.policy.language.values import Value

Ipsets = Mapping[str, tuple[IpsetStep, ...]]

_RANGE = re.compile(r"([0-9a-fA-F:.]{2,45})\s*-\s*([0-9a-fA-F:.]{2,45})")


def read_ipsets(value: Value | None, names: Names) -> Ipsets:
    ipsets = {name: _ipset(name, steps, names) for name, steps in members(value)}
    _refuse_cycles(dict(members(value)), ipsets)
    return ipsets


def _ipset(name: str, value: Value, names: Names) -> tuple[IpsetStep, ...]:
    if not name.removeprefix("ipset:") or not name.startswith("ipset:"):
        raise value.name_refused(f"ipset must start with 'ipset:', got: {quoted(name)}")
    steps = items(value)
    removes = any(string(step).split()[:1] == ["remove"] for step in steps)
    return tuple(_step(step, removes, names) for step in steps)


def _step(value: Value, removes: bool, names: Names) -> IpsetStep:
    word = string(value).strip()
    match word.split(maxsplit=1):
        case ["add" | "remove" as verb, target]:
            return IpsetStep(verb == "add", _target(value, target, names))
    if removes:
        raise value.refused(f'{quoted(word)}: begin with "add" or "remove" in an ipset that removes')
    return IpsetStep(True, _target(value, word, names))


def _target(value: Value, word: str, names: Names) -> Selector | tuple[str, str]:
    found = _RANGE.fullmatch(word)
    return _range(value, *found.groups()) if found else IPSET_TARGET.read(value, names, word)


def _range(value: Value, low: str, high: str) -> tuple[str, str]:
    try:
        first, last = ip_address(low), ip_address(high)
    except ValueError:
        raise value.refused(f"{quoted(string(value))}: invalid address") from None
    if first.version != last.version or int(first) > int(last):
        raise value.refused(f"{quoted(string(value))}: the range has no beginning before its end")
    return str(first), str(last)


def _refuse_cycles(values: Mapping[str, Value], ipsets: Ipsets) -> None:
    left = _entangled({name: _named(steps) for name, steps in ipsets.items()})
    if left:
        name = _on_a_cycle(left)
        raise values[name].name_refused(f"ipset {quoted(name)} contains itself")


def _entangled(named: dict[str, set[str]]) -> dict[str, set[str]]:
    """Takes away, again and again, the sets that name none of those left. (No recursion: chains are long.)"""
    users: dict[str, list[str]] = {name: [] for name in named}
    for name, others in named.items():
        for other in others:
            users[other].append(name)
    free = [name for name, others in named.items() if not others]
    for name in free:  # grows on the way
        for user in users[name]:
            named[user].discard(name)
            if not named[user]:
                free.append(user)
    return {name: others for name, others in named.items() if others}


def _on_a_cycle(entangled: Mapping[str, set[str]]) -> str:
    """Each names another, so whoever follows the names comes by one twice."""
    seen: set[str] = set()
    name = min(entangled)
    while name not in seen:
        seen.add(name)
        name = min(entangled[name])
    return name


def _named(steps: tuple[IpsetStep, ...]) -> set[str]:
    targets = (step.what for step in steps)
    return {one.name for one in targets if isinstance(one, Selector) and one.kind is Kind.IPSET}
