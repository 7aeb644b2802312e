"""What a client does with its packet filter, written from the client's side; it knows nothing of policies.

A filter is a list of rules in wire form, as JSON. What it lets in is told per (source, destination), as the
ports of each protocol, so that two filters decide alike if and only if these are equal.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

Rule = Mapping[str, Any]
Point = tuple[int, int]
"""Address family and address."""
Span = tuple[int, int, int]
"""Address family, first and last address."""
Ports = tuple[tuple[int, int, int], ...]
"""Protocol, first and last port."""

DEFAULT_PROTOCOLS = (6, 17, 1, 58)
WITH_PORTS = {6, 17, 132}
PINGS = {1, 58}
ALL_PORTS = (0, 65535)
EVERY_ADDRESS: tuple[Span, ...] = ((4, 0, (1 << 32) - 1), (6, 0, (1 << 128) - 1))


class Source:
    """Where a packet comes from, and which capabilities the node there has in the receiver's netmap."""

    def __init__(self, address: str, capabilities: Iterable[str] = ()) -> None:
        self.address = address
        self.point = point(address)
        self.capabilities = frozenset(capabilities)


class ClientFilter:
    """A list of rules as one client reads it."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [_ReadRule(rule) for rule in rules]
        self._opened: dict[Point, list[tuple[_ReadRule, Ports]]] = {}
        self._joined: dict[tuple[Point, frozenset[int]], Ports] = {}

    def lets_in(self, source: Source, destination: str) -> Ports:
        """What is open, joined where it touches. Who may reach any port may also ping."""
        target = point(destination)
        if target not in self._opened:
            opened = ((rule, tuple(rule.opens(target))) for rule in self._rules)
            self._opened[target] = [(rule, ports) for rule, ports in opened if ports]
        found = {n: ports for n, (rule, ports) in enumerate(self._opened[target]) if rule.is_from(source)}
        key = target, frozenset(found)
        if key not in self._joined:
            self._joined[key] = _joined(one for ports in found.values() for one in ports)
        return self._joined[key]

    def capabilities(self, source: Source, destination: str) -> dict[str, list[Any]]:
        """What the source may do at this own address of the receiver: lists are joined in rule order."""
        found: dict[str, list[Any]] = {}
        target = point(destination)
        for rule in self._rules:
            if rule.grants and rule.is_from(source):
                for addresses, cap_map in rule.grants:
                    if target in addresses:
                        for name, values in cap_map.items():
                            found.setdefault(name, []).extend(values or [])
        return found


class _ReadRule:
    def __init__(self, rule: Rule) -> None:
        texts = rule.get("SrcIPs") or []
        self._sources = _addresses(tuple(text for text in texts if not text.startswith("cap:")))
        self._capabilities = {text.removeprefix("cap:") for text in texts if text.startswith("cap:")}
        protocols = rule.get("IPProto") or DEFAULT_PROTOCOLS
        self._protocols = [number for number in protocols if 0 <= number <= 255]
        self._ports = [
            (_addresses((entry["IP"],)), entry["Ports"]["First"], entry["Ports"]["Last"])
            for entry in rule.get("DstPorts") or []
        ]
        self.grants = [
            (_addresses(tuple(grant["Dsts"])), grant.get("CapMap") or {})
            for grant in rule.get("CapGrant") or []
        ]

    def is_from(self, source: Source) -> bool:
        return source.point in self._sources or bool(self._capabilities & source.capabilities)

    def opens(self, target: Point) -> Iterator[tuple[int, int, int]]:
        for addresses, first, last in self._ports:
            if target in addresses:
                yield from ((protocol, *ALL_PORTS) for protocol in PINGS)
                for protocol in self._protocols:
                    if protocol in WITH_PORTS or (first, last) == ALL_PORTS:
                        yield protocol, first, last


class _Addresses:
    """A set of addresses; it remembers what it was asked."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = tuple(spans)
        self._known: dict[Point, bool] = {}

    def __contains__(self, where: Point) -> bool:
        known = self._known.get(where)
        if known is None:
            family, number = where
            known = any(span[0] == family and span[1] <= number <= span[2] for span in self._spans)
            self._known[where] = known
        return known


@lru_cache(maxsize=1 << 12)
def _addresses(texts: tuple[str, ...]) -> _Addresses:
    return _Addresses(span for text in texts for span in _read_span(text))


@lru_cache(maxsize=1 << 14)
def point(address: str) -> Point:
    read = ip_address(address)
    return read.version, int(read)


def _read_span(text: str) -> tuple[Span, ...]:
    """Nothing for a malformed entry: clients skip it."""
    if text == "*":
        return EVERY_ADDRESS
    try:
        if "-" in text:
            (version, first), (other, last) = (point(end) for end in text.split("-", 1))
            return ((version, first, last),) if version == other and first <= last else ()
        network = ip_network(text)
    except ValueError:
        return ()
    return ((network.version, int(network.network_address), int(network.broadcast_address)),)


def _joined(ports: Iterable[tuple[int, int, int]]) -> Ports:
    joined: list[tuple[int, int, int]] = []
    for protocol, first, last in sorted(ports):
        if joined and joined[-1][0] == protocol and first <= joined[-1][2] + 1:
            joined[-1] = (protocol, joined[-1][1], max(last, joined[-1][2]))
        else:
            joined.append((protocol, first, last))
    return tuple(joined)


def without_order(capabilities: Mapping[str, list[Any]]) -> dict[str, list[str]]:
    """For comparing what two filters grant: in which order is not what decides."""
    return {
        name: sorted(json.dumps(value, sort_keys=True) for value in values)
        for name, values in sorted(capabilities.items())
    }


def ssh_decision(rules: Iterable[Rule], source: str, login: str) -> tuple[Any, ...] | None:
    """What a login comes to: the action, the local user and the environment taken; None: it is refused."""
    for rule in rules:
        users: Mapping[str, str] = rule.get("sshUsers") or {}
        local = users.get(login, users.get("*", ""))
        if local and any(principal.get("nodeIP") == source for principal in rule["principals"]):
            return rule["action"], login if local == "=" else local, rule.get("acceptEnv")
    return None
