"""Policies for tests, written short, and what comes of them."""

import json
from collections.abc import Iterator
from typing import Any

from headscale_saas.policy.compiled import Filters
from headscale_saas.policy.language import parse
from headscale_saas.policy.program import Program
from headscale_saas.policy.resolution import Resolution, resolve
from headscale_saas.tailcfg.filters import FilterRule
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId, UserId
from headscale_saas.tailnet.state import TailnetState

Json = dict[str, Any]


def acl(src: str, dst: str, **more: Any) -> Json:
    """Sources and destinations with blanks between them."""
    return {"action": "accept", "src": src.split(), "dst": dst.split(), **more}


def grant(src: str, dst: str, ip: str = "*", **more: Any) -> Json:
    return {"src": src.split(), "dst": dst.split(), "ip": ip.split(), **more}


def program(*rules: Json, tags: str = "a b c", **sections: Any) -> Program:
    """Of ACL rules (those with an action) and grants. The tags are defined."""
    acls = [rule for rule in rules if "action" in rule]
    grants = [rule for rule in rules if "action" not in rule]
    owners = {f"tag:{tag}": [] for tag in tags.split()}
    return Program(parse(json.dumps({"tagOwners": owners, "acls": acls, "grants": grants, **sections})))


def resolved(state: TailnetState, *rules: Json, **sections: Any) -> Resolution:
    return resolve(program(*rules, **sections), state)


def advanced(
    resolution: Resolution,
    before: TailnetState,
    after: TailnetState,
    *nodes: int,
    users: tuple[int, ...] = (),
) -> Resolution:
    """After a change of these rows."""
    touched = Touched(nodes=frozenset(map(NodeId, nodes)), users=frozenset(map(UserId, users)))
    return resolution.advanced(before, after, touched)


def filters_of(resolution: Resolution, node: Node) -> Filters:
    return resolution.filters(resolution.audience(node))


def rules_at(resolution: Resolution, node: Node) -> Iterator[FilterRule]:
    filters = filters_of(resolution, node)
    return (rule for name in sorted(filters) for rule in filters[name])


def sees(resolution: Resolution, viewer: Node, peer: Node) -> bool:
    return resolution.sees(resolution.audience(viewer), peer)
