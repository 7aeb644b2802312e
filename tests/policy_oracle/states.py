"""The world of a tailnet's state."""

import json
from collections.abc import Mapping
from typing import Any

from tests.policy_oracle.world import Device, World

from headscale_saas.tailnet.model import Node, User
from headscale_saas.tailnet.state import TailnetState


def world_of(state: TailnetState) -> World:
    """The state's policy must be plain JSON."""
    owners = state.users
    devices = [
        device_of(node, owners[node.user_id] if node.user_id is not None else None)
        for node in state.nodes.values()
    ]
    return World(json.loads(state.policy_text or "{}"), devices)


def device_of(node: Node, owner: User | None) -> Device:
    return Device(
        id=node.id,
        addresses=tuple(str(address) for address in (node.ipv4, node.ipv6) if address is not None),
        user=owner.id if owner else None,
        logins=logins_of(owner) if owner else (),
        role=owner.role if owner else "",
        tags=node.tags,
        advertised=frozenset(node.hostinfo.routable_ips),
        approved=frozenset(node.approved_routes),
        online=node.online,
        usable=node.authorized and not node.expired,
        facts=facts_of(node),
    )


def logins_of(user: User) -> tuple[str, ...]:
    """The login name first; `name@` is how users are called that have no domain."""
    return tuple(dict.fromkeys((user.login_name, f"{user.name}@")))


def facts_of(node: Node) -> Mapping[str, Any]:
    info = node.hostinfo
    facts = {
        "node:os": info.os.lower(),
        "node:osVersion": info.os_version,
        "node:tsVersion": info.ipn_version.partition("-")[0],
    }
    return {name: fact for name, fact in facts.items() if fact}
