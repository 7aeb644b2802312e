"""`derpMap`: relays of the tailnet's own."""

from headscale_saas.policy.language.document import PolicyRelays
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.shapes import (
    boolean,
    fields,
    integer,
    items,
    members,
    number,
    optional_string,
    spellings,
)
from headscale_saas.policy.language.values import Value
from headscale_saas.tailcfg.derpmap import DERPNode, DERPRegion

_MAP = spellings("regions", "omitDefaultRegions")
_REGION = spellings(
    "regionID", "regionCode", "regionName", "latitude", "longitude", "avoid", "noMeasureNoHome", "nodes"
)
_NODE = spellings(
    *("name", "regionID", "hostName", "certName", "ipv4", "ipv6", "stunPort", "stunOnly", "derpPort"),
    *("insecureForTests", "stunTestIP", "canPort80"),
)
MAX_REGIONS = 500
MAX_NODES = 50
"""Of one region. Every client is sent all of them."""


def read_relays(value: Value | None) -> PolicyRelays | None:
    if value is None:
        return None
    relays = fields(value, _MAP)
    regions = dict(members(relays.get("regions")))
    if len(regions) > MAX_REGIONS:
        raise relays["regions"].refused(f"derpMap has more than {MAX_REGIONS} regions")
    return PolicyRelays(
        {_region_id(name, region): _region(name, region) for name, region in regions.items()},
        boolean(relays.get("omitDefaultRegions")),
    )


def _region_id(name: str, value: Value) -> int:
    if not (name.isascii() and name.isdigit()) or len(name) > 9 or name[0] == "0":
        raise value.name_refused(f"derpMap: {quoted(name)} is not the number of a region")
    return int(name)


def _region(name: str, value: Value) -> DERPRegion | None:
    if value.data is None:
        return None
    region = fields(value, _REGION)
    nodes = items(region.get("nodes"))
    if len(nodes) > MAX_NODES:
        raise region["nodes"].refused(f"derpMap: region {name} has more than {MAX_NODES} nodes")
    return DERPRegion(
        region_id=_same_id(name, value, region.get("regionID")),
        region_code=optional_string(region.get("regionCode")),
        region_name=optional_string(region.get("regionName")),
        latitude=number(region.get("latitude")),
        longitude=number(region.get("longitude")),
        avoid=boolean(region.get("avoid")),
        no_measure_no_home=boolean(region.get("noMeasureNoHome")),
        nodes=tuple(_node(name, item) for item in nodes),
    )


def _same_id(name: str, value: Value, written: Value | None) -> int:
    """`regionID` repeats the key of the region; it may be left out."""
    if written and integer(written) != _region_id(name, value):
        raise written.refused(f"derpMap: regionID {integer(written)} in region {name}")
    return _region_id(name, value)


def _node(region: str, value: Value) -> DERPNode:
    node = fields(value, _NODE)
    if not optional_string(node.get("name")) or not optional_string(node.get("hostName")):
        raise value.refused("derpMap: a node needs a name and a hostName")
    return DERPNode(
        name=optional_string(node.get("name")),
        region_id=_same_id(region, value, node.get("regionID")),
        host_name=optional_string(node.get("hostName")),
        cert_name=optional_string(node.get("certName")),
        ipv4=optional_string(node.get("ipv4")),
        ipv6=optional_string(node.get("ipv6")),
        stun_port=integer(node.get("stunPort")),
        stun_only=boolean(node.get("stunOnly")),
        derp_port=integer(node.get("derpPort")),
        insecure_for_tests=boolean(node.get("insecureForTests")),
        stun_test_ip=optional_string(node.get("stunTestIP")),
        can_port_80=boolean(node.get("canPort80")),
    )
