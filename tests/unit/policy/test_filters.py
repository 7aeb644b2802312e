"""Packet filters as clients are sent them: chunks, who shares them, and what a change renews."""

from collections.abc import Iterable

from msgspec.structs import replace

from headscale_saas.policy.chunks import changed_chunks
from headscale_saas.policy.resolution import Resolution
from headscale_saas.tailcfg.filters import FilterRule
from headscale_saas.tailnet.model import Node, NodeId, UserId
from policies import Json, acl, advanced, filters_of, grant, resolved, rules_at
from tailnets import make_node, make_state, with_nodes

A, A_FAR, B, MINE = (
    make_node(1, tags=("tag:a",)),
    make_node(40, tags=("tag:a",)),
    make_node(2, tags=("tag:b",)),
    make_node(3),
)
STATE = make_state(A, A_FAR, B, MINE)
ROUTE = "10.33.0.0/16"
EXIT = ("0.0.0.0/0", "::/0")


def addresses(*nodes: Node) -> tuple[str, ...]:
    return tuple(text for node in nodes for text in (str(node.ipv4), str(node.ipv6)))


def spelled(rules: Iterable[FilterRule]) -> list[str]:
    return [
        f"{' '.join(rule.src_ips)} -> "
        + " ".join(f"{port.ip}:{port.ports.first}-{port.ports.last}" for port in rule.dst_ports)
        for rule in rules
    ]


def at(resolution: Resolution, node: Node) -> list[str]:
    return spelled(rules_at(resolution, node))


def test_a_chunk_has_the_sources_of_one_bucket() -> None:
    filters = filters_of(resolved(STATE, acl("tag:a 10.0.0.0/8", "tag:b:22")), B)
    assert {name: rules[0].src_ips for name, rules in filters.items()} == {
        "r0000.x": ("10.0.0.0/8",),
        "r0000.0": addresses(A),
        "r0000.1": addresses(A_FAR),
    }


def test_a_join_renews_one_chunk_for_all_that_it_may_reach() -> None:
    before = resolved(STATE, acl("tag:a", "tag:b:22"), acl("autogroup:member", "*:80"))
    told, mine = filters_of(before, B), filters_of(before, MINE)
    joined = make_node(41, tags=("tag:a",))
    after = advanced(before, STATE, with_nodes(STATE, joined), 41)
    changes = changed_chunks(told, filters_of(after, B))
    assert {name: rules and rules[0].src_ips for name, rules in changes.items()} == {
        "r0000.1": addresses(A_FAR, joined)
    }
    assert filters_of(after, MINE) is mine


def test_a_leaving_node_takes_its_chunk_away() -> None:
    before = resolved(STATE, acl("tag:a", "tag:b:22"))
    after = advanced(before, STATE, with_nodes(STATE, gone=(40,)), 40)
    assert changed_chunks(filters_of(before, B), filters_of(after, B)) == {"r0000.1": None}


def test_nothing_comes_in_where_no_rule_leads() -> None:
    assert dict(filters_of(resolved(STATE, acl("tag:a", "tag:b:22")), MINE)) == {"base": ()}


def test_a_filter_that_closes_takes_its_chunks_away() -> None:
    before = resolved(make_state(A, B), acl("tag:a", "tag:b:22"))
    after = advanced(before, make_state(A, B), make_state(B), 1)
    assert changed_chunks(filters_of(before, B), filters_of(after, B)) == {"r0000.0": None, "base": ()}


def test_like_nodes_share_one_text() -> None:
    other = make_node(5, tags=("tag:b",))
    resolution = resolved(with_nodes(STATE, other), acl("tag:a", "tag:b:22"))
    assert filters_of(resolution, B) is filters_of(resolution, other)
    assert at(resolution, B)[0].endswith("-> *:22-22")


def test_a_destination_address_is_not_widened_to_its_node() -> None:
    resolution = resolved(STATE, acl("tag:a", f"{B.ipv4}:22"))
    assert all(text.endswith(f"-> {B.ipv4}:22-22") for text in at(resolution, B))


def test_who_advertises_routes_is_told_its_own_addresses() -> None:
    """Even where nobody approved them: `*` would let packets in that go beyond the node."""
    router = replace(B, hostinfo=make_node(2, routable_ips=(ROUTE,)).hostinfo)
    state = with_nodes(make_state(A, B), router)
    v4, v6 = addresses(router)
    assert at(resolved(state, acl("tag:a", "tag:b:22")), router) == [
        f"{' '.join(addresses(A))} -> {v4}:22-22 {v6}:22-22"
    ]


def test_a_router_is_told_of_destinations_behind_it() -> None:
    router = make_node(2, tags=("tag:b",), routable_ips=(ROUTE,), approved_routes=(ROUTE,))
    state = make_state(A, router)
    for written in ("10.33.7.0/24", ROUTE, "10.0.0.0/8"):
        assert at(resolved(state, acl("tag:a", f"{written}:80")), router) == [
            f"{' '.join(addresses(A))} -> {written}:80-80"
        ]
    assert at(resolved(state, acl("tag:a", "10.34.0.0/16:80")), router) == []


def test_an_exit_node_is_told_of_the_internet() -> None:
    exit_node = make_node(2, tags=("tag:b",), routable_ips=EXIT, approved_routes=EXIT)
    (rule,) = rules_at(resolved(make_state(A, exit_node), acl("tag:a", "autogroup:internet:*")), exit_node)
    assert rule.dst_ports[0].ip == "0.0.0.0-9.255.255.255"
    assert at(resolved(STATE, acl("tag:a", "autogroup:internet:*")), B) == []


def test_ipsets_shape_what_exit_nodes_pass_on() -> None:
    exit_node = make_node(2, tags=("tag:b",), routable_ips=EXIT, approved_routes=EXIT)
    shaped = {"ipset:out": ["add autogroup:internet", "remove 11.0.0.0/8"]}
    resolution = resolved(make_state(A, exit_node), acl("tag:a", "ipset:out:*"), ipsets=shaped)
    (rule,) = rules_at(resolution, exit_node)
    assert [port.ip for port in rule.dst_ports][:2] == ["0.0.0.0-9.255.255.255", "12.0.0.0-100.63.255.255"]
    assert resolution.sees(resolution.audience(A), exit_node)
    assert resolution.peer_routes(resolution.audience(A), exit_node) == EXIT


def test_everybody_as_a_source_is_the_tailnet_and_what_is_behind_it() -> None:
    router = make_node(2, tags=("tag:b",), routable_ips=(ROUTE,), approved_routes=(ROUTE,))
    before = resolved(make_state(A, B), acl("*", "tag:a:1"))
    own = "100.115.94.0-100.127.255.255 100.64.0.0-100.115.91.255 fd7a:115c:a1e0::/48 -> *:1-1"
    assert at(before, A) == [own]
    after = advanced(before, make_state(A, B), make_state(A, router), 2)
    assert at(after, A) == [f"{ROUTE} {own}"]


def test_danger_all_is_everything() -> None:
    assert at(resolved(STATE, acl("autogroup:danger-all tag:b", "tag:a:1")), A) == ["* -> *:1-1"]


def test_own_nodes_are_told_of_each_other() -> None:
    phone, foreign = make_node(4), make_node(5, user_id=UserId(2))
    state = with_nodes(make_state(MINE, foreign), phone)
    resolution = resolved(state, acl("autogroup:member", "autogroup:self:*"))
    assert at(resolution, MINE) == [f"{' '.join(addresses(MINE, phone))} -> *:0-65535"]
    mine = filters_of(resolution, MINE)
    after = advanced(resolution, state, with_nodes(state, make_node(6, user_id=UserId(2))), 6)
    assert filters_of(after, MINE) is mine
    assert list(filters_of(after, foreign)) == ["r0000.u"]


def posture_rule(src: str) -> Json:
    return acl(src, "tag:b:1", srcPosture=["posture:linux"])


def test_postures_take_devices_out_of_the_sources() -> None:
    """A range that devices have addresses in says only which of them are meant."""
    macos = replace(A_FAR, hostinfo=type(A.hostinfo)(os="macOS"))
    state = make_state(A, macos, B)
    postures = {"posture:linux": ["node:os == 'linux'"]}
    for src in ("tag:a", "100.64.0.0/24 fd7a:115c:a1e0::/48", "100.64.0.1 100.64.0.40 fd7a:115c:a1e0::/96"):
        (rule,) = rules_at(resolved(state, posture_rule(src), postures=postures), B)
        assert set(addresses(A)) <= set(rule.src_ips) <= set(addresses(A, B))
    (rule,) = rules_at(resolved(state, posture_rule("100.64.0.1"), postures=postures), B)
    assert rule.src_ips == (str(A.ipv4),)
    rules = rules_at(resolved(state, posture_rule("0.0.0.0/1"), postures=postures), B)
    assert "0.0.0.0-100.63.255.255" in {text for rule in rules for text in rule.src_ips}


def test_capabilities_are_granted_on_own_addresses() -> None:
    router = make_node(2, tags=("tag:b",), routable_ips=(ROUTE,), approved_routes=(ROUTE,))
    app = {"example.com/x": [1]}
    plain, special = make_node(4, tags=("tag:b",)), router
    resolution = resolved(make_state(A, plain, special), grant("tag:a", f"tag:b {ROUTE}", ip="", app=app))
    (rule,) = rules_at(resolution, plain)
    assert [one.dsts for one in rule.cap_grant] == [("0.0.0.0/0", "::/0")]
    (rule,) = rules_at(resolution, special)
    assert [one.dsts for one in rule.cap_grant] == [("100.64.0.2/32", "fd7a:115c:a1e0::2/128"), (ROUTE,)]


def test_nobody_is_granted_a_capability_twice_for_being_named_twice() -> None:
    """By an address and by who the node is: clients would join the values of two rules."""
    app = {"example.com/x": [1]}
    sources = f"tag:a {A.ipv4} {A_FAR.ipv6}/120"
    resolution = resolved(STATE, grant(sources, "tag:b", ip="", app=app))
    named = [text for rule in rules_at(resolution, B) for text in rule.src_ips if text in addresses(A, A_FAR)]
    assert sorted(named) == sorted([str(A.ipv4), str(A_FAR.ipv4)])


def test_only_its_routers_are_told_of_a_way_through_them() -> None:
    def router(number: int, tag: str) -> Node:
        return make_node(number, tags=(tag,), routable_ips=(ROUTE,), approved_routes=(ROUTE,))

    state = make_state(MINE, router(1, "tag:a"), router(2, "tag:b"))
    resolution = resolved(state, grant("autogroup:member", ROUTE, via=["tag:a"]))
    assert at(resolution, state.nodes[NodeId(1)]) == [f"{' '.join(addresses(MINE))} -> {ROUTE}:0-65535"]
    assert at(resolution, state.nodes[NodeId(2)]) == []
