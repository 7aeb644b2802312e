"""Recordings and answers of ours in one form, in which they are equal if they mean the same."""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from headscale_saas.tailnet.routes import EXIT_ROUTES

IGNORED_CAPABILITIES = re.compile(
    r"https://tailscale\.com/cap/(is-admin|is-owner|tailnet-lock|warn-funnel-no-https|funnel-ports\?.*)"
    r"|service-host|store-appc-routes|tailnet-display-name|tailnet\.maxKeyDuration|native-ipv4"
    r"|probe-udp-lifetime|ssh-behavior-v1|ssh-env-vars"
)
"""Of the settings of the recorded tailnet and of features of its service, not of its policy."""

ELSEWHERE = ("8.8.8.8", "100.64.255.254", "100.115.92.7", "172.20.1.1", "2001:db8::1", "fd7a:115c:a1e0::ffff")
"""Addresses that no node of the labs has: on the internet, in the tailnet's ranges, private."""


def as_json(values: Iterable[Any]) -> list[Any]:
    plain: list[Any] = msgspec.json.decode(msgspec.json.encode(list(values)))
    return plain


def without_absent(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As they are, but null, [] and absence are one."""
    return [_settled({name: value for name, value in rule.items() if value}) for rule in rules]


def _settled(rule: dict[str, Any]) -> dict[str, Any]:
    grants = rule.get("CapGrant")
    if grants:
        rule["CapGrant"] = [
            {**grant, "CapMap": {name: values or [] for name, values in (grant.get("CapMap") or {}).items()}}
            for grant in grants
        ]
    return rule


def without_order_in_rules(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_sorted_inside(rule) for rule in without_absent(rules)]


def _sorted_inside(rule: dict[str, Any]) -> dict[str, Any]:
    inside_grants = [{**grant, "Dsts": sorted(grant["Dsts"])} for grant in rule.get("CapGrant", ())]
    return {
        "SrcIPs": sorted(rule.get("SrcIPs", ())),
        "DstPorts": sorted(
            (e["IP"], e["Ports"]["First"], e["Ports"]["Last"]) for e in rule.get("DstPorts", ())
        ),
        "IPProto": set(rule.get("IPProto", ())),
        "CapGrant": inside_grants,
    }


def capabilities(cap_map: Mapping[str, Any] | None) -> dict[str, list[Any]]:
    return {
        name: list(values or ())
        for name, values in sorted((cap_map or {}).items())
        if not IGNORED_CAPABILITIES.fullmatch(name)
    }


def principals_in_order(rule: Mapping[str, Any]) -> dict[str, Any]:
    settled = {name: value for name, value in rule.items() if value or name in ("sshUsers", "action")}
    return {**settled, "principals": sorted(map(str, settled["principals"]))}


def in_order(prefixes: Iterable[str]) -> list[str]:
    """IPv4 first, then by address and length."""
    networks = (ip_network(text) for text in prefixes)
    ordered = sorted(networks, key=lambda n: (n.version, int(n.network_address), n.prefixlen))
    return [str(network) for network in ordered]


def inside(routes: Iterable[str]) -> list[str]:
    """An address of each route; of exit routes, one on the internet and one in a private network."""
    found = [str(ip_address(int(ip_network(r).network_address) + 5)) for r in routes if r not in EXIT_ROUTES]
    return [*found, *(ELSEWHERE if set(EXIT_ROUTES) & set(routes) else ())]
