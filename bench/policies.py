"""Policies of three kinds with the tailnets they are for, always the same for the same numbers.

p0  everyone may reach everyone
p1  50 rules, 20 groups, 10 tags, a subnet router and an exit node: a company
p2  everyone reaches his own devices (every user is a class of its own) and some shared servers
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

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

KINDS = ("p0", "p1", "p2")
SEED = 7
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
DOMAIN = "example.com"
GROUPS, TAGS, RULES = 20, 10, 50
OFFICE = "10.20.0.0/16"
EXIT_ROUTES = ("0.0.0.0/0", "::/0")
ROUTER, EXIT = "tag:router", "tag:exit"
MOST_USERS = 250
"""So that a run with real clients need not make thousands of keys."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Owner:
    """Who a node belongs to: a user by number, or tags."""

    user: int | None = None
    tags: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A policy, the users by number (from 1), and whose each node is, by its place."""

    kind: str
    text: str
    users: tuple[str, ...]
    owners: tuple[Owner, ...]

    def variant(self, port: int) -> str:
        """The same policy with one rule more, which changes every node's filter and nobody's peers."""
        policy = json.loads(self.text or "{}")
        if self.kind == "p0":
            policy["acls"] = [_allow(["*"], ["*:*", f"*:{port}"])]
        elif self.kind == "p1":
            policy["acls"].append(_allow(["group:admins"], [f"*:{port}"]))
        else:
            policy["acls"].append(
                _allow(["autogroup:member"], [f"autogroup:self:{port}", f"tag:server:{port}"])
            )
        return json.dumps(policy, indent=1)

    def owner_of(self, number: int) -> Owner:
        """Also of newcomers: they are like those before, but route nothing."""
        owner = self.owners[number % len(self.owners)]
        return owner if number < len(self.owners) or not owner.routes else self.owners[0]

    def state(self) -> TailnetState:
        nodes = [node_of(number, owner) for number, owner in enumerate(self.owners, 1)]
        users = [
            User(id=UserId(number), name=name.partition("@")[0], email=name, created_at=EPOCH)
            for number, name in enumerate(self.users, 1)
        ]
        tailnet = Tailnet(
            id=TailnetId(1),
            name="bench",
            cluster_id=ClusterId(1),
            version=Version(1),
            settings=Settings(base_domain="tail.example"),
            created_at=EPOCH,
        )
        rows = {node.id: node for node in nodes}
        return TailnetState(tailnet, rows, {user.id: user for user in users}, self.text or None)


def scene(kind: str, nodes: int, *, seed: int = SEED, most_users: int = MOST_USERS) -> Scene:
    chance = random.Random(f"{kind} {nodes} {seed}")
    users = tuple(f"user{number:04d}@{DOMAIN}" for number in range(min(max(nodes // 3, 2), most_users)))
    if kind == "p0":
        return Scene(kind, "", users, _owned(nodes, len(users), chance, []))
    if kind == "p1":
        tags = [f"tag:t{number}" for number in range(TAGS - 2)]
        owners = _owned(nodes - 2, len(users), chance, tags)
        routers = (Owner(tags=(ROUTER,), routes=(OFFICE,)), Owner(tags=(EXIT,), routes=EXIT_ROUTES))
        return Scene(kind, json.dumps(_company(users, tags, chance), indent=1), users, owners + routers)
    return Scene(
        kind, json.dumps(_personal(), indent=1), users, _owned(nodes, len(users), chance, ["tag:server"])
    )


def _owned(nodes: int, users: int, chance: random.Random, tags: Sequence[str]) -> tuple[Owner, ...]:
    """Every user has a node; the rest goes to anybody, and a fifth (of many tags) or a fiftieth to tags."""
    share = 0.2 if len(tags) > 1 else 0.02
    owners = [Owner(user=number) for number in range(1, min(users, nodes) + 1)]
    for _ in range(nodes - len(owners)):
        is_tagged = tags and chance.random() < share
        owners.append(
            Owner(tags=(chance.choice(tags),)) if is_tagged else Owner(user=chance.randint(1, users))
        )
    if tags and not any(owner.tags for owner in owners):
        owners[-1] = Owner(tags=(tags[0],))
    chance.shuffle(owners)
    return tuple(owners)


def _company(users: Sequence[str], tags: Sequence[str], chance: random.Random) -> Json:
    """Admins reach all; groups reach tags, hosts and an office; servers reach servers."""
    groups = {"group:admins": list(users[:2])} | {f"group:g{number:02d}": [] for number in range(GROUPS - 1)}
    names = [name for name in groups if name != "group:admins"]
    for user in users:
        for name in chance.sample(names, chance.randint(1, 3)):
            groups[name].append(user)
    ports = ("22", "80,443", "443", "5432", "8000-8100", "*")
    acls = [_allow(["group:admins"], ["*:*"]), _allow(["autogroup:member"], ["autogroup:internet:*"])]
    acls += [
        _allow([chance.choice(names)], [f"{chance.choice(tags)}:{chance.choice(ports)}"]) for _ in range(30)
    ]
    acls += [
        _allow([chance.choice(tags)], [f"{chance.choice(tags)}:{chance.choice(ports)}"]) for _ in range(10)
    ]
    acls += [_allow(chance.sample(names, 3), ["office:*"]), _allow(chance.sample(names, 2), ["printer:631"])]
    while len(acls) < RULES:
        acls.append(_allow([chance.choice(users)], [f"{chance.choice(tags)}:22"]) | {"proto": "tcp"})
    return {
        "groups": groups,
        "hosts": {"office": OFFICE, "printer": "10.20.7.9"},
        "tagOwners": {tag: ["group:admins"] for tag in (*tags, ROUTER, EXIT)},
        "autoApprovers": {"routes": {OFFICE: [ROUTER]}, "exitNode": [EXIT]},
        "acls": acls,
    }


def _personal() -> Json:
    own = _allow(["autogroup:member"], ["autogroup:self:*"])
    return {
        "tagOwners": {"tag:server": ["autogroup:admin"]},
        "acls": [own, _allow(["autogroup:member"], ["tag:server:443", "tag:server:22"])],
    }


def _allow(sources: list[str], destinations: list[str]) -> Json:
    return {"action": "accept", "src": sources, "dst": destinations}


def node_of(number: int, owner: Owner) -> Node:
    """Node `number` of a scene, as its row would be."""
    services = (Service(proto="peerapi4", port=40000 + number % 1000),)
    return Node(
        id=NodeId(number),
        stable_id=f"n{number:06d}",
        machine_key=MachineKey(number.to_bytes(32, "big")),
        node_key=NodeKey((number + (1 << 40)).to_bytes(32, "big")),
        disco_key=DiscoKey((number + (1 << 41)).to_bytes(32, "big")),
        tailnet_lock_key=TailnetLockKey.zero(),
        user_id=None if owner.user is None else UserId(owner.user),
        tags=owner.tags,
        hostname=f"node-{number}",
        name=f"node-{number}",
        ipv4=IPv4Address("100.64.0.0") + number,
        ipv6=IPv6Address("fd7a:115c:a1e0::") + number,
        created_at=EPOCH,
        capver=142,
        hostinfo=Hostinfo(
            os="linux", hostname=f"node-{number}", services=services, routable_ips=owner.routes
        ),
        endpoints=(f"198.51.100.{number % 250}:41641",),
        home_derp=1,
        approved_routes=owner.routes,
        online=True,
    )
