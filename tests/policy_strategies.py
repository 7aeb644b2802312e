"""Random policies, and random histories of the tailnets they are for (hypothesis).

All policies define the same names, so that any part can be taken out of one without making it invalid.
"""

import json
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st
from tests.tailnets import make_node, make_state, make_user, next_version

from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId, Role, User, UserId
from headscale_saas.tailnet.state import TailnetState

Json = dict[str, Any]
Strategy = st.SearchStrategy[Any]

NODES = st.sampled_from([1, 2, 3, 31, 32, 33, 64])
"""On both sides of the borders of what is kept together."""
LOGINS = ("alice@example.com", "bob@example.com", "carol@other.org", "")
USERS = st.sampled_from([1, 2, 3, 4])
TAGS = ("tag:x", "tag:y", "tag:z")
EXITS = ("0.0.0.0/0", "::/0")
SUBNETS = ("10.0.0.0/8", "10.33.0.0/16", "10.33.7.0/24", "192.168.1.0/24", "8.8.8.0/24", "fd00:1::/64")
HOSTS = {
    "box": "100.64.0.1",
    "six": "fd7a:115c:a1e0::2",
    "some": "100.64.0.32/27",
    "lan": "10.33.0.0/16",
    "all-lans": "10.0.0.0/8",
}
PREFIXES = (
    "100.64.0.2",
    "fd7a:115c:a1e0::21",
    "100.64.0.0/10",
    "10.33.7.5",
    "10.33.128.0/17",
    "192.168.0.0/16",
    "8.8.8.8",
    "fd00:1::/32",
    "172.16.0.0/12",
)
IPSETS = (
    ["add 10.0.0.0/8", "remove 10.33.0.0/16"],
    ["100.64.0.1-100.64.0.31", "192.168.1.0/24"],
    ["host:lan", "fd7a:115c:a1e0::/64"],
    ["add 100.64.0.0/24", "remove host:box", "remove 100.64.0.3"],
    ["add autogroup:internet", "remove 8.8.8.0/24"],
)
POSTURES = {
    "posture:linux": ["node:os == 'linux'"],
    "posture:new": ["node:tsVersion >= '1.70.0'", "node:os NOT IN ['windows', 'ios']"],
    "posture:odd": ["custom:x NOT SET", "node:os != 'linux'"],
}
ROLE_GROUPS = ("autogroup:owner", "autogroup:admin", "autogroup:network-admin", "autogroup:auditor")

LOGIN_WORDS = ("alice@example.com", "bob@example.com", "carol@other.org", "user4@")
PEOPLE = (*LOGIN_WORDS, "user:*@example.com", "group:a", "group:b", "autogroup:member", *ROLE_GROUPS)
IDENTITIES = (*PEOPLE, *TAGS, "autogroup:tagged")
ADDRESSES = (*HOSTS, *PREFIXES, "ipset:i", "ipset:j")
SOURCES = (*IDENTITIES, *ADDRESSES, "*", "autogroup:danger-all", "autogroup:shared")
DESTINATIONS = (*IDENTITIES, *ADDRESSES, "*", "autogroup:internet")
PORTS = ("*", "22", "80-443", "22,80-90", "0-65535", "53")
WITH_PORTS = ("tcp", "udp", "sctp", "6")
WITHOUT_PORTS = ("icmp", "gre", "ipv6-icmp", "4")


def words(*some: str, most: int = 3, least: int = 1) -> Strategy:
    return st.lists(st.sampled_from(some), min_size=least, max_size=most)


def often(strategy: Strategy, default: Any) -> Strategy:
    """The default twice as often as something else."""
    return st.one_of(st.just(default), st.just(default), strategy)


# --- policies ---


def with_postures(entry: Strategy) -> Strategy:
    chosen = often(words(*POSTURES, most=2, least=0), None)
    return st.tuples(entry, chosen).map(lambda it: it[0] if it[1] is None else {**it[0], "srcPosture": it[1]})


@st.composite
def acls(draw: st.DrawFn) -> Json:
    protocol = draw(often(st.sampled_from([*WITH_PORTS, *WITHOUT_PORTS]), ""))
    ports = st.just("*") if protocol in WITHOUT_PORTS else st.sampled_from(PORTS)
    has_self = draw(often(st.just(True), False))
    sources = draw(words(*PEOPLE, "*") if has_self else words(*SOURCES, least=0))
    hosts = draw(words(*DESTINATIONS, least=0)) + (["autogroup:self"] if has_self else [])
    entry = {"action": "accept", "src": sources, "dst": [_target(host, draw(ports)) for host in hosts]}
    return {**entry, "proto": protocol} if protocol else entry


def _target(host: str, ports: str) -> str:
    address, slash, length = host.partition("/")
    return f"[{address}]{slash}{length}:{ports}" if "::" in host else f"{host}:{ports}"


IP = st.one_of(
    st.sampled_from(PORTS),
    st.builds("{}:{}".format, st.sampled_from(WITH_PORTS), st.sampled_from(PORTS)),
    st.sampled_from(WITHOUT_PORTS).map("{}:*".format),
)
APPS = st.dictionaries(
    st.sampled_from(["example.com/cap/x", "tailscale.com/cap/drive", "tailscale.com/cap/relay"]),
    st.sampled_from([[], [{"a": 1}], [1, "two"]]),
    min_size=1,
    max_size=2,
)


@st.composite
def grants(draw: st.DrawFn) -> Json:
    has_self = draw(often(st.just(True), False))
    sources = draw(words(*PEOPLE) if has_self else words(*SOURCES, least=0))
    destinations = draw(words(*DESTINATIONS, least=0)) + (["autogroup:self"] if has_self else [])
    app = {} if "autogroup:internet" in destinations else draw(often(APPS, {}))
    ip = draw(st.lists(IP, min_size=0 if app else 1, max_size=2))
    entry = {"src": sources, "dst": destinations, "ip": ip, "app": app}
    return {name: value for name, value in entry.items() if value or name in ("src", "dst")}


@st.composite
def via_grants(draw: st.DrawFn) -> Json:
    entry = {
        "src": draw(words(*IDENTITIES, "*", "lan")),
        "dst": draw(words(*ADDRESSES, "autogroup:internet", "*", "tag:x")),
        "via": draw(words(*TAGS, most=2)),
    }
    is_app_only = "autogroup:internet" not in entry["dst"] and draw(often(st.just(True), False))
    return (
        {**entry, "app": draw(APPS)}
        if is_app_only
        else {**entry, "ip": draw(st.lists(IP, min_size=1, max_size=2))}
    )


@st.composite
def ssh_rules(draw: st.DrawFn) -> Json:
    kind = draw(st.sampled_from(["servers", "self", "user"]))
    if kind == "servers":
        sources, targets = draw(words(*IDENTITIES, least=0)), draw(words(*TAGS, "autogroup:tagged"))
    elif kind == "self":
        sources, targets = draw(words(*PEOPLE)), ["autogroup:self", *draw(words("tag:x", least=0, most=1))]
    else:
        login = draw(st.sampled_from(LOGIN_WORDS))
        sources, targets = [login], [login]
    names = words("root", "autogroup:nonroot", "deploy", "localpart:*@example.com", "localpart:*@other.org")
    entry = {"action": draw(st.sampled_from(["accept", "check"])), "src": sources, "dst": targets}
    return {**entry, "users": draw(names), **draw(st.sampled_from([{}, {"acceptEnv": ["LANG", "X_*"]}]))}


NODE_ATTRIBUTES = st.fixed_dictionaries(
    {
        "target": words(*IDENTITIES, *HOSTS, *PREFIXES, "*", least=0),
        "attr": words("disable-ipv4", "suggest-exit-node", "funnel", "custom:mark", least=0),
    }
)
APPROVERS = st.fixed_dictionaries(
    {
        "routes": st.dictionaries(
            st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "10.33.7.0/24", "fd00:1::/48"]), words(*IDENTITIES)
        ),
        "exitNode": words(*IDENTITIES, least=0),
    }
)
DEFINITIONS = st.fixed_dictionaries(
    {
        "groups": st.fixed_dictionaries(
            {
                "group:a": words(*LOGIN_WORDS, "user:*@example.com"),
                "group:b": words(*LOGIN_WORDS, least=0),
            }
        ),
        "hosts": st.just(HOSTS),
        "ipsets": st.fixed_dictionaries(
            {"ipset:i": st.sampled_from(IPSETS), "ipset:j": st.sampled_from([*IPSETS, ["ipset:i", "box"]])}
        ),
        "tagOwners": st.fixed_dictionaries({tag: words(*PEOPLE, *TAGS, least=0, most=2) for tag in TAGS}),
        "postures": st.just(POSTURES),
    }
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "acls": st.lists(with_postures(acls()), max_size=4),
        "grants": st.lists(with_postures(st.one_of(grants(), grants(), via_grants())), max_size=4),
        "ssh": st.lists(with_postures(ssh_rules()), max_size=3),
        "nodeAttrs": st.lists(NODE_ATTRIBUTES, max_size=3),
        "autoApprovers": APPROVERS,
        "defaultSrcPosture": words(*POSTURES, most=1),
        "randomizeClientPort": st.booleans(),
        "disableIPv4": st.booleans(),
    },
)


def policies() -> st.SearchStrategy[str]:
    """Policy texts: plain JSON, all valid."""
    return st.tuples(DEFINITIONS, RULES).map(lambda parts: json.dumps({**parts[0], **parts[1]}))


@st.composite
def _via_or_not(draw: st.DrawFn) -> Json:
    """Grants in which routers matter."""
    plain = {"src": draw(words("*", "tag:x", "alice@example.com", "lan")), "ip": ["*"]}
    if draw(st.booleans()):
        return {**plain, "dst": draw(words("lan", "all-lans", "*", "autogroup:internet", "tag:y"))}
    targets = words("ipset:i", "ipset:j", "lan", "10.33.7.5", "192.168.0.0/16", "autogroup:internet")
    return {**plain, "dst": draw(targets), "via": draw(words("tag:x", "tag:y", most=2))}


def policies_about_routers() -> st.SearchStrategy[str]:
    grants = st.lists(_via_or_not(), min_size=1, max_size=4)
    return st.tuples(DEFINITIONS, grants).map(lambda it: json.dumps({**it[0], "grants": it[1]}))


# --- tailnets ---

ROUTES = st.lists(st.sampled_from([*SUBNETS, "exit"]), unique=True, max_size=3).map(
    lambda routes: tuple(sorted({one for route in routes for one in (EXITS if route == "exit" else [route])}))
)
PLACES: dict[str, Strategy] = {
    "owner": st.one_of(
        USERS.map(lambda user: (user, ())), words(*TAGS, most=2).map(lambda tags: (None, tags))
    ),
    "routes": st.tuples(often(ROUTES, ()), st.booleans()),
    "approved": ROUTES,
    "system": st.tuples(
        st.sampled_from(["linux", "macOS", "windows", ""]), st.sampled_from(["1.60.0", "1.80.3-t1"])
    ),
    "online": st.booleans(),
    "expired": often(st.just(True), False),
    "authorized": often(st.just(False), True),
    "has_ipv4": often(st.just(False), True),
    "endpoints": st.sampled_from([(), ("192.0.2.1:1",)]),
}
"""What distinguishes nodes, in the words of these strategies; `node_with` makes rows of it."""


ROUTERS = PLACES | {
    "owner": st.sampled_from([(1, ()), (None, ("tag:x",)), (None, ("tag:y",)), (None, ("tag:x", "tag:y"))]),
    "routes": st.tuples(ROUTES, st.just(True)),
    "approved": ROUTES,
}


def some_of(members: Mapping[str, Strategy], most: int = 2) -> Strategy:
    one = st.one_of([st.tuples(st.just(name), values) for name, values in members.items()])
    return st.lists(one, min_size=1, max_size=most).map(dict)


def node_with(node: Node, facts: Mapping[str, Any]) -> Node:
    changes: Json = {
        name: facts[name] for name in ("online", "expired", "authorized", "endpoints") if name in facts
    }
    info = node.hostinfo
    if "owner" in facts:
        user, tags = facts["owner"]
        changes |= {"user_id": user and UserId(user), "tags": tuple(sorted(set(tags)))}
    if "routes" in facts:
        routes, are_approved = facts["routes"]
        info = msgspec.structs.replace(info, routable_ips=routes)
        changes |= {"approved_routes": routes} if are_approved else {}
    if "approved" in facts:
        changes["approved_routes"] = facts["approved"]
    if "system" in facts:
        info = msgspec.structs.replace(info, os=facts["system"][0], ipn_version=facts["system"][1])
    if "has_ipv4" in facts:
        changes["ipv4"] = IPv4Address("100.64.0.0") + node.id if facts["has_ipv4"] else None
    return msgspec.structs.replace(node, **changes, hostinfo=info)


def user_rows() -> tuple[User, ...]:
    return tuple(make_user(number, email=login) for number, login in enumerate(LOGINS, 1))


@st.composite
def states(
    draw: st.DrawFn, policy: Strategy | None = None, places: Mapping[str, Strategy] = PLACES
) -> TailnetState:
    """A tailnet of some two to six nodes with a policy."""
    numbers = draw(st.lists(NODES, min_size=2, max_size=6, unique=True))
    nodes = [
        node_with(make_node(number), draw(st.fixed_dictionaries(dict(places)))) for number in sorted(numbers)
    ]
    users = [
        msgspec.structs.replace(user, role=draw(often(st.sampled_from(Role), Role.MEMBER)))
        for user in user_rows()
    ]
    text = draw(policies() if policy is None else policy)
    state = make_state(*nodes, users=tuple(users))
    return state.replace(state.tailnet, {}, {}, text)


class Change(NamedTuple):
    """One version: which row (or the policy), and what becomes of it."""

    kind: str
    number: int
    facts: Any


CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(Change, st.just("node"), NODES, some_of(PLACES)),
    st.builds(Change, st.just("node"), NODES, some_of(PLACES)),
    st.builds(Change, st.just("gone"), NODES, st.none()),
    st.builds(
        Change,
        st.just("user"),
        USERS,
        st.fixed_dictionaries(
            {},
            optional={
                "role": st.sampled_from(Role),
                "email": st.sampled_from(LOGINS),
                "display_name": st.sampled_from(["Ann", "Bob"]),
            },
        ),
    ),
    st.builds(Change, st.just("policy"), st.just(0), policies()),
    st.builds(Change, st.just("settings"), st.just(0), st.sampled_from(["", "Acme"])),
)


def changed(state: TailnetState, change: Change) -> tuple[TailnetState, Touched]:
    """The next state, and what it touched."""
    kind, number, facts = change
    node_id, user_id = NodeId(number), UserId(number)
    if kind == "node":
        row = node_with(state.nodes.get(node_id) or make_node(number), facts)
        return _next(state, nodes={node_id: row}), Touched(nodes=frozenset({node_id}))
    if kind == "gone":
        return _next(state, nodes={node_id: None}), Touched(nodes=frozenset({node_id}))
    if kind == "user":
        user = msgspec.structs.replace(state.users[user_id], **facts)
        return _next(state, users={user_id: user}), Touched(users=frozenset({user_id}))
    if kind == "policy":
        return _next(state, policy=facts), Touched(policy=True)
    tailnet = next_version(state, display_name=facts)
    return state.replace(tailnet, {}, {}, state.policy_text), Touched(settings=True)


def _next(
    state: TailnetState,
    nodes: Mapping[NodeId, Node | None] | None = None,
    users: Mapping[UserId, User | None] | None = None,
    policy: str | None = None,
) -> TailnetState:
    text = state.policy_text if policy is None else policy
    return state.replace(next_version(state), nodes or {}, users or {}, text)
