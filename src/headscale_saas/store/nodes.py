"""Nodes: row <-> value, and the queries."""

from typing import Any

from headscale_saas.tailcfg.codec import decode, encode
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.keys import DiscoKey, MachineKey, NodeKey, TailnetLockKey
from headscale_saas.tailnet.model import Node, RegisterMethod

COLUMNS = (
    "id", "stable_id", "machine_key", "node_key", "disco_key", "tailnet_lock_key", "user_id", "tags",
    "hostname", "name", "name_is_fixed", "ipv4", "ipv6", "created_at", "expires_at", "expired", "authorized",
    "ephemeral", "auth_key_id", "register_method", "capver", "hostinfo", "endpoints", "home_derp",
    "approved_routes", "online", "last_seen",
)  # fmt: skip
"""The columns a Node is made of, in the order of `to_row`."""

SELECT = ", ".join(f"n.{name}" for name in COLUMNS)
"""The select list, for a table aliased `n`."""

METHODS = {method.value: method for method in RegisterMethod}
HOSTINFO_LIMIT = 1 << 24
"""Ours is bounded when it is written; a row is never refused for its length."""


def from_record(row: Any) -> Node:
    """A row with all of COLUMNS."""
    return Node(
        id=row["id"],
        stable_id=row["stable_id"],
        machine_key=MachineKey(row["machine_key"]),
        node_key=NodeKey(row["node_key"]),
        disco_key=DiscoKey(row["disco_key"]),
        tailnet_lock_key=TailnetLockKey(row["tailnet_lock_key"]),
        user_id=row["user_id"],
        tags=tuple(row["tags"]),
        hostname=row["hostname"],
        name=row["name"],
        name_is_fixed=row["name_is_fixed"],
        ipv4=row["ipv4"],
        ipv6=row["ipv6"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        expired=row["expired"],
        authorized=row["authorized"],
        ephemeral=row["ephemeral"],
        auth_key_id=row["auth_key_id"],
        register_method=METHODS[row["register_method"]],
        capver=row["capver"],
        hostinfo=decode(Hostinfo, row["hostinfo"].encode(), limit=HOSTINFO_LIMIT),
        endpoints=tuple(row["endpoints"]),
        home_derp=row["home_derp"],
        approved_routes=tuple(row["approved_routes"]),
        online=row["online"],
        last_seen=row["last_seen"],
    )


def to_row(node: Node) -> tuple[object, ...]:
    """The values of COLUMNS, as the driver takes them."""
    return tuple(_column(node, name) for name in COLUMNS)


def column_value(name: str, value: object) -> object:
    """One value of COLUMNS as the driver takes it."""
    return encode(value).decode() if name == "hostinfo" else value


def _column(node: Node, name: str) -> object:
    return column_value(name, getattr(node, name))
