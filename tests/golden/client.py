"""What a client does with its packet filter, written from the client's side; it knows nothing of policies.

A filter is a list of rules in wire form, as JSON. What it lets in is told per (source, destination), as the
ports of each protocol, so that two filters decide alike if and only if these are equal.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

Rule = Mapping[str, Any]
Span = tuple[int, int, int]
"""Address family, first and last address."""

DEFAULT_PROTOCOLS = (6, 17, 1, 58)
WITH_PORTS = {6, 17, 132}
PINGS = {1, 58}
ALL_PORTS = (0, 65535)
EVERY_ADDRESS: tuple[Span, ...] = ((4, 0, (1 << 32) - 1), (6, 0, (1 << 128) - 1))


class Source:
    """Where a packet comes from, and which capabilities the node there has in the receiver's netmap."""

    def __init__(self, address: str, capabilities: Iterable[str] = ()) -> None:
        self.point = point(address)
        self.capabilities = frozenset(capabilities)


class ClientFilter:
    """A list of rules as one client reads it."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = [_ReadRule(rule) for rule in rules]

    def lets_in(self, source: Source, destination: str) -> dict[int, list[tuple[int, int]]]:
        """Protocol -> spans of ports, joined where they touch. Who may reach any port may also ping."""
        found: dict[int, list[tuple[int, int]]] = {}
        target = point(destination)
        for rule in self.rules:
            if rule.ports and rule.is_from(source):
                for protocol, first, last in rule.opens(target):
                    found.setdefault(protocol, []).append((first, last))
        return {protocol: _joined(spans) for protocol, spans in sorted(found.items())}

    def capabilities(self, source: Source, destination: str) -> dict[str, list[Any]]:
        """What the source may do at this own address of the receiver: lists are joined in rule order."""
        found: dict[str, list[Any]] = {}
        target = point(destination)
        for rule in self.rules:
            if rule.grants and rule.is_from(source):
                for spans, cap_map in rule.grants:
                    if _holds(spans, target):
                        for name, values in cap_map.items():
                            found.setdefault(name, []).extend(values or [])
        return found


class _ReadRule:
    def __init__(self, rule: Rule) -> None:
        texts = rule.get("SrcIPs") or []
        self.sources = _spans(text for text in texts if not text.startswith("cap:"))
        self.source_capabilities = {text.removeprefix("cap:") for text in texts if text.startswith("cap:")}
        protocols = rule.get("IPProto") or DEFAULT_PROTOCOLS
        self.protocols = [number for number in protocols if 0 <= number <= 255]
        self.ports = [_read_target(entry) for entry in rule.get("DstPorts") or []]
        self.grants = [
            (_spans(grant["Dsts"]), grant.get("CapMap") or {}) for grant in rule.get("CapGrant") or []
        ]

    def is_from(self, source: Source) -> bool:
        return _holds(self.sources, source.point) or bool(self.source_capabilities & source.capabilities)

    def opens(self, target: tuple[int, int]) -> Iterable[tuple[int, int, int]]:
        for spans, first, last in self.ports:
            if _holds(spans, target):
                yield from ((protocol, *ALL_PORTS) for protocol in PINGS)
                for protocol in self.protocols:
                    if protocol in WITH_PORTS or (first, last) == ALL_PORTS:
                        yield protocol, first, last


@lru_cache(maxsize=1 << 14)
def point(address: str) -> tuple[int, int]:
    read = ip_address(address)
    return read.version, int(read)


def _read_target(entry: Mapping[str, Any]) -> tuple[tuple[Span, ...], int, int]:
    return _spans([entry["IP"]]), entry["Ports"]["First"], entry["Ports"]["Last"]


def _spans(texts: Iterable[str]) -> tuple[Span, ...]:
    return tuple(span for text in texts for span in _read_span(text))


@lru_cache(maxsize=1 << 14)
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


def _holds(spans: Iterable[Span], where: tuple[int, int]) -> bool:
    family, number = where
    return any(span[0] == family and span[1] <= number <= span[2] for span in spans)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def without_order(capabilities: Mapping[str, list[Any]]) -> dict[str, list[str]]:
    """For comparing what two filters grant: in which order is not what decides."""
    return {
        name: sorted(json.dumps(value, sort_keys=True) for value in values)
        for name, values in sorted(capabilities.items())
    }
