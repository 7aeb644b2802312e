"""One recording per file, `<family>/<name>.json`, and the tailnet it was made in."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from headscale_saas.tailnet.model import Node, Role, User, UserId
from headscale_saas.tailnet.state import TailnetState
from tailnets import EPOCH, make_node, make_state, make_user

BESIDE_THE_CHECKOUT = Path(__file__).parents[3] / "shared" / "golden"


def folder() -> Path:
    return Path(os.environ.get("GOLDEN_DIR") or BESIDE_THE_CHECKOUT)


def names() -> list[str]:
    """`family/name` of all cases, sorted: every process of a run must find the same ones."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in folder().glob("*/*.json"))


@dataclass(frozen=True)
class Case:
    family: str
    name: str
    policy: str
    topology: Mapping[str, Any]
    expect: Mapping[str, Any]
    unreliable: tuple[str, ...]

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.topology["associated_domains"])

    @property
    def views(self) -> Mapping[str, Any]:
        """What each node was sent, by hostname. Nodes without a recording are missing."""
        return self.expect.get("nodes", {})

    def is_reliable(self, hostname: str, area: str) -> bool:
        return not {f"{hostname}: {area}", f"*: {area}"} & set(self.unreliable)

    @cached_property
    def state(self) -> TailnetState:
        """The tailnet when the policy was posted: everybody online."""
        users = tuple(_user(row) for row in self.topology["users"])
        ids = {user.name: user.id for user in users} | {user.login_name: user.id for user in users}
        nodes = (_node(row, ids) for row in self.topology["nodes"])
        auto_update = bool(self.topology["settings"].get("devices_auto_updates_on"))
        state = make_state(*nodes, users=users, auto_update=auto_update)
        return state.replace(state.tailnet, {}, {}, self.policy)

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """By hostname, in order of registration."""
        return {node.hostname: node for node in self.state.nodes.values()}


def load(name: str) -> Case:
    recording = json.loads((folder() / f"{name}.json").read_text())
    assert recording["format"] == 1
    wanted = {field: recording[field] for field in ("family", "name", "policy", "topology", "expect")}
    return Case(**wanted, unreliable=tuple(recording.get("unreliable") or ()))


def _user(row: Mapping[str, Any]) -> User:
    return make_user(row["id"], name=row["name"], email=row["email"], role=Role(row.get("role") or "member"))


def _node(row: Mapping[str, Any], ids: Mapping[str, UserId]) -> Node:
    return make_node(
        row["id"],
        routable_ips=tuple(row["advertised_routes"]),
        hostname=row["hostname"],
        name=row["hostname"].lower(),
        user_id=None if row["tags"] else ids[row["user"]],
        tags=tuple(row["tags"] or ()),
        ipv4=IPv4Address(row["ipv4"]),
        ipv6=IPv6Address(row["ipv6"]),
        created_at=datetime.fromisoformat(row["created"]) if row["created"] else EPOCH,
        approved_routes=tuple(row["approved_routes"]),
    )
