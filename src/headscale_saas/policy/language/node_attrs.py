"""`nodeAttrs`: attributes, app connectors and address pools of nodes."""

from ipaddress import IPv4Network

from headscale_saas.policy.language.document import NodeAttr
from headscale_saas.policy.language.grants import read_capabilities
from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.places import TARGET
from headscale_saas.policy.language.recognition import read_network
from headscale_saas.policy.language.shapes import fields, items, spellings, string, strings
from headscale_saas.policy.language.values import Value
from headscale_saas.tailnet.model import DEFAULT_PREFIX_V4

_FIELDS = spellings("target", "attr", "app", "ipPool")
APP_CONNECTORS = "tailscale.com/app-connectors"
RESERVED = tuple(map(IPv4Network, ("100.100.0.0/24", "100.100.100.0/24", "100.115.92.0/23")))
"""What the clients themselves or their systems use of the range."""


def read_node_attrs(value: Value | None, names: Names) -> tuple[NodeAttr, ...]:
    return tuple(_entry(item, names) for item in items(value))


def _entry(value: Value, names: Names) -> NodeAttr:
    entry = fields(value, _FIELDS)
    return NodeAttr(
        position=value.position,
        targets=TARGET.read_all(entry.get("target"), names),
        attributes=strings(entry.get("attr")),
        app=read_capabilities(entry.get("app"), (APP_CONNECTORS,)),
        ip_pools=tuple(_pool(item) for item in items(entry.get("ipPool"))),
    )


def _pool(value: Value) -> IPv4Network:
    text = string(value).strip()
    network = read_network(text)
    if not isinstance(network, IPv4Network):
        raise value.refused(f"IPPool({text[:50]}): not an IPv4 network")
    if not network.subnet_of(DEFAULT_PREFIX_V4):
        raise value.refused(f"IPPool({network}): network must be within {DEFAULT_PREFIX_V4}")
    if any(network.subnet_of(reserved) for reserved in RESERVED):
        raise value.refused(f"IPPool({network}): network within reserved range")
    return network
