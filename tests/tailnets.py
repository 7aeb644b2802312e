"""Small tailnets for tests: nodes and states with everything unimportant filled in."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import msgspec

from headscale_saas.tailcfg.hostinfo import Hostinfo, Service
from headscale_saas.tailcfg.keys import DiscoKey, MachineKey, NodeKey, TailnetLockKey
from headscale_saas.tailnet.model import (
    ClusterId,
    Node,
    NodeId,
    Settings,
    Tailnet,
    TailnetId,
    User,
    UserId,
    Version,
)
from headscale_saas.tailnet.state import TailnetState

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def moment(seconds: int) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def make_user(number: int, **changes: Any) -> User:
    return msgspec.structs.replace(User(id=UserId(number), name=f"user{number}", created_at=EPOCH), **changes)


def make_node(number: int, *, routable_ips: tuple[str, ...] = (), **changes: Any) -> Node:
    """Node `number`, of user 1 unless told otherwise (tags make it nobody's)."""
    if changes.get("tags"):
        changes["user_id"] = None
    node = Node(
        id=NodeId(number),
        stable_id=f"n{number:06d}",
        machine_key=MachineKey(number.to_bytes(32, "big")),
        node_key=NodeKey((number + (1 << 40)).to_bytes(32, "big")),
        disco_key=DiscoKey((number + (1 << 41)).to_bytes(32, "big")),
        tailnet_lock_key=TailnetLockKey.zero(),
        user_id=UserId(1),
        hostname=f"Node {number}",
        name=f"node-{number}",
        ipv4=IPv4Address("100.64.0.0") + number,
        ipv6=IPv6Address("fd7a:115c:a1e0::") + number,
        created_at=EPOCH,
        capver=142,
        hostinfo=make_hostinfo(number, routable_ips),
        endpoints=(f"198.51.100.{number % 250}:41641", "192.168.1.5:41641"),
        home_derp=901,
        online=True,
    )
    return msgspec.structs.replace(node, **changes)


def make_hostinfo(number: int, routable_ips: tuple[str, ...] = ()) -> Hostinfo:
    services = (Service(proto="peerapi4", port=40000 + number % 1000),)
    return Hostinfo(os="linux", hostname=f"Node {number}", services=services, routable_ips=routable_ips)


def make_state(*nodes: Node, users: tuple[User, ...] = (), **settings: Any) -> TailnetState:
    """A tailnet at version 1. The users that nodes name exist."""
    known = {user.id: user for user in users}
    for node in nodes:
        if node.user_id is not None:
            known.setdefault(node.user_id, make_user(node.user_id))
    settings.setdefault("base_domain", "tail.example")
    tailnet = Tailnet(
        id=TailnetId(1),
        name="acme",
        cluster_id=ClusterId(1),
        version=Version(1),
        settings=Settings(**settings),
        created_at=EPOCH,
    )
    rows = {node.id: node for node in sorted(nodes, key=lambda node: node.id)}
    return TailnetState(tailnet, rows, dict(sorted(known.items())))


def with_nodes(state: TailnetState, *nodes: Node, gone: tuple[int, ...] = ()) -> TailnetState:
    """The next version, with these rows put in and those taken out."""
    rows: dict[NodeId, Node | None] = {node.id: node for node in nodes}
    rows.update({NodeId(number): None for number in gone})
    return state.replace(next_version(state), rows, {}, state.policy_text)


def next_version(state: TailnetState, **settings: Any) -> Tailnet:
    tailnet = state.tailnet
    return msgspec.structs.replace(
        tailnet,
        version=Version(tailnet.version + 1),
        settings=msgspec.structs.replace(tailnet.settings, **settings) if settings else tailnet.settings,
    )
