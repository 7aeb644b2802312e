"""What a client believes after differences is what a whole netmap would have told it.

Histories of a small tailnet are made at random; the client is `swarm.netmap`, which knows nothing of ours.
"""

from collections.abc import Hashable, Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headscale_saas.netmap.delta import delta, own_delta, shared_delta
from headscale_saas.netmap.peers import Fragments
from headscale_saas.netmap.telling import Telling
from headscale_saas.netmap.view import ClassView, Environment, View, placeholder_derp_map, view_of
from headscale_saas.policy import Audience, Compiled, Filters, advance, compile_policy
from headscale_saas.policy.allow_all import AllowAll, allow_all
from headscale_saas.swarm.netmap import ClientNetmap
from headscale_saas.tailcfg.derpmap import DERPMap, DERPNode, DERPRegion
from headscale_saas.tailcfg.filters import FilterRule, NetPortRange
from headscale_saas.tailcfg.hostinfo import Location
from headscale_saas.tailcfg.keys import DiscoKey, NodeKey
from headscale_saas.tailcfg.node import CapMap
from headscale_saas.tailcfg.ssh import SSHPolicy, SSHPrincipal, SSHRule
from headscale_saas.tailnet.changes import Touched, union
from headscale_saas.tailnet.model import DnsSettings, ExtraRecord, Node, NodeId, Role, UserId
from headscale_saas.tailnet.state import TailnetState
from netmap_steps import (
    believer,
    demand_books_follow,
    demand_differences_lead_to_the_whole,
    demand_touched_only_narrows,
)
from tailnets import EPOCH, make_hostinfo, make_node, make_state, make_user, moment, next_version

NODES = st.sampled_from([1, 2, 64, 65])
USERS = st.sampled_from([1, 2, 3])
ROUTES = ("10.0.0.0/8", "192.168.0.0/24", "0.0.0.0/0", "::/0")
TIMES = st.none() | st.integers(0, 5).map(moment)

ENVIRONMENTS = (
    Environment(placeholder_derp_map(), "control.example"),
    Environment(
        DERPMap(
            regions={
                1: DERPRegion(
                    region_id=1,
                    region_code="r",
                    nodes=(DERPNode(name="1a", region_id=1, host_name="relay.example"),),
                )
            }
        ),
        "control.example",
    ),
)

LAWS = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


class Cliques(AllowAll):
    """A policy for tests, that tells viewers apart: by owner; routes, filters and attributes differ, too."""

    def audience(self, node: Node) -> Audience:
        return super().audience(node), node.user_id

    def sees(self, audience: Any, peer: Node) -> bool:
        state, user_id = audience
        return super().sees(state, peer) and (peer.user_id in (None, user_id) or peer.id == 64)

    def peers(self, audience: Any) -> None:
        return None  # more than they see, which is allowed

    def aspect(self, audience: Any, peer: Node) -> Hashable:
        if not self.sees(audience, peer):
            return None
        return self.peer_routes(audience, peer), self.hides_ipv4(audience, peer)

    def peer_routes(self, audience: Any, peer: Node) -> tuple[str, ...]:
        return super().peer_routes(audience[0], peer) if audience[1] != 2 else ()

    def peer_attributes(self, audience: Any, peer: Node) -> CapMap:
        return {"suggest-exit-node": ()} if "::/0" in self.peer_routes(audience, peer) else {}

    def hides_ipv4(self, audience: Any, node: Node) -> bool:
        return audience[1] == 3 or node.user_id == 3

    def filters(self, audience: Any) -> Filters:
        chunks = {f"user-{user}" for user in (1, 2, 3) if user != audience[1]}
        ports = (NetPortRange(ip=f"192.0.2.{audience[1] or 0}"),)
        return {name: (FilterRule(src_ips=(name,), dst_ports=ports),) for name in sorted(chunks)}

    def ssh_policy(self, audience: Any) -> SSHPolicy:
        return SSHPolicy(rules=(SSHRule(principals=(SSHPrincipal(node_ip=f"192.0.2.{audience[1]}"),)),))

    def node_attributes(self, node: Node) -> CapMap:
        return {"funnel": ()} if node.user_id == 2 else {}

    def moved_since(self, before: Compiled) -> frozenset[NodeId] | None:
        return super().moved_since(before) if isinstance(before, Cliques) else None

    def advanced(self, before: TailnetState, after: TailnetState, touched: Touched) -> "Cliques":
        return Cliques(super().advanced(before, after, touched)._served)


class Step(NamedTuple):
    """One version: the state, its policy, and what it touched."""

    state: TailnetState
    compiled: Compiled
    environment: Environment
    touched: Touched

    def view(self, node_id: int) -> View:
        return view_of(self.state, self.compiled, self.state.nodes[NodeId(node_id)], self.environment)


DIGITS = st.integers(1, 3)

PATCHABLE: dict[str, st.SearchStrategy[Any]] = {
    "endpoints": st.sampled_from([(), ("192.0.2.1:1",), ("192.0.2.2:2", "[2001:db8::1]:2")]),
    "home_derp": st.integers(0, 2),
    "online": st.booleans(),
    "last_seen": TIMES,
    "expires_at": TIMES,
    "capver": st.sampled_from([0, 113, 130, 142]),
    "node_key": DIGITS.map(lambda n: NodeKey(bytes([n]) * 32)),
    "disco_key": DIGITS.map(lambda n: DiscoKey(bytes([n + 4]) * 32)),
}


def some_of(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    one = st.one_of([st.tuples(st.just(name), values) for name, values in members.items()])
    return st.lists(one, min_size=1, max_size=3).map(dict)


def node_changes() -> st.SearchStrategy[dict[str, Any]]:
    """One to three members of a node row, changed: few, since what clients do with a change depends on what
    else changed with it.
    """
    hostinfos = st.builds(
        lambda number, services, place, routes: msgspec.structs.replace(
            make_hostinfo(number, routes),
            services=make_hostinfo(1).services if services else (),
            location=Location(city="Bonn") if place else None,
        ),
        DIGITS,
        st.booleans(),
        st.booleans(),
        st.sampled_from([(), ROUTES[:1], ROUTES]),
    )
    members: dict[str, st.SearchStrategy[Any]] = PATCHABLE | {
        "name": st.sampled_from(["alpha", "beta", "gamma"]),
        "hostname": st.sampled_from(["Alpha", "Beta"]),
        "expired": st.booleans(),
        "authorized": st.booleans(),
        "approved_routes": st.sampled_from([(), ROUTES[:1], ROUTES[:2], ROUTES]),
        "hostinfo": hostinfos,
        "user_id": st.none() | USERS.map(UserId),
        "created_at": st.just(EPOCH + timedelta(days=1)),
    }
    return some_of(members)


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "base_domain": st.sampled_from(["", "a.example", "b.example"]),
        "display_name": st.sampled_from(["", "Acme"]),
        "taildrop": st.booleans(),
        "auto_update": st.booleans(),
        "client_logs": st.booleans(),
        "randomize_client_port": st.booleans(),
        "dns": st.builds(
            DnsSettings,
            magic_dns=st.booleans(),
            override_local=st.booleans(),
            nameservers=st.sampled_from([(), ("192.0.2.53",)]),
            split=st.sampled_from([{}, {"corp.example": ("192.0.2.54",)}]),
            search_domains=st.sampled_from([(), ("corp.example",)]),
            extra_records=st.sampled_from([(), (ExtraRecord("a.b", "A", "192.0.2.9"),)]),
        ),
    },
)

USER_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "display_name": st.sampled_from(["", "Ann", "Bob"]),
        "email": st.sampled_from(["", "ann@example.com"]),
        "role": st.sampled_from([Role.MEMBER, Role.ADMIN, Role.OWNER]),
    },
)

VERSIONS = st.lists(
    st.one_of(
        st.tuples(st.just("node"), NODES, node_changes()),
        st.tuples(st.just("node"), NODES, node_changes()),
        st.tuples(st.just("gone"), NODES, st.none()),
        st.tuples(st.just("user"), USERS, USER_CHANGES),
        st.tuples(st.just("settings"), st.none(), SETTINGS),
        st.tuples(st.just("environment"), st.none(), st.none()),
    ),
    min_size=1,
    max_size=8,
)


def changed_node(state: TailnetState, number: int, changes: Mapping[str, Any]) -> Node:
    """The row with the changes, within the rules of the model; a new row if there is none."""
    node = state.nodes.get(NodeId(number)) or make_node(number)
    if "user_id" in changes:
        changes = {**changes, "tags": () if changes["user_id"] else ("tag:x",)}
    return msgspec.structs.replace(node, **changes)


def next_step(step: Step, change: tuple[str, Any, Any]) -> Step:
    kind, number, changes = change
    state, environment, touched = step.state, step.environment, Touched()
    nodes: dict[NodeId, Node | None] = {}
    users = {}
    tailnet = next_version(state)
    if kind == "node":
        nodes[NodeId(number)] = changed_node(state, number, changes)
        touched = Touched(nodes=frozenset({NodeId(number)}))
    elif kind == "gone":
        nodes[NodeId(number)] = None
        touched = Touched(nodes=frozenset({NodeId(number)}))
    elif kind == "user":
        users[UserId(number)] = msgspec.structs.replace(state.users[UserId(number)], **changes)
        touched = Touched(users=frozenset({UserId(number)}))
    elif kind == "settings":
        tailnet = next_version(state, **changes)
        touched = Touched(settings=True)
    else:
        environment = next(other for other in ENVIRONMENTS if other is not environment)
    after = state.replace(tailnet, nodes, users, None)
    return Step(after, advance(step.compiled, state, after, touched), environment, touched)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """A first state and what became of it, version by version."""
    numbers = draw(st.sets(NODES, min_size=2))
    rows = [changed_node(make_state(), number, draw(node_changes())) for number in sorted(numbers)]
    state = make_state(*rows, users=tuple(make_user(number) for number in (1, 2, 3)))
    compiled: Compiled = compile_policy(None, state)
    if draw(st.booleans()):
        compiled = Cliques(allow_all(state)._served)
    steps = [Step(state, compiled, ENVIRONMENTS[0], Touched())]
    for change in draw(VERSIONS):
        steps.append(next_step(steps[-1], change))
    return steps


def stops(draw: st.DataObject, steps: list[Step]) -> list[int]:
    """At which versions a session is told anything; others it sleeps through."""
    indices = draw.draw(st.sets(st.integers(0, len(steps) - 1), min_size=1), label="stops")
    return sorted(indices)


@LAWS
@given(histories(), st.data())
def test_differences_lead_where_a_whole_netmap_leads(steps: list[Step], data: st.DataObject) -> None:
    demand_differences_lead_to_the_whole(steps, stops(data, steps))


@settings(LAWS, max_examples=1000)
@given(
    st.fixed_dictionaries(PATCHABLE),
    st.lists(some_of(PATCHABLE | {"name": st.just("x")}), min_size=1, max_size=3),
)
def test_every_change_of_a_peer_arrives(first: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    """However it is told: as a patch, as a whole node that the client may turn into one, or anew."""
    state = make_state(make_node(1), make_node(2, **first))
    step = Step(state, compile_policy(None, state), ENVIRONMENTS[0], Touched())
    client = believer(step, 1)
    for change in changes:
        before, step = step, next_step(step, ("node", 2, change))
        for message in delta(before.view(1), step.view(1)):
            client.apply_json(message)
        assert client.told() == believer(step, 1).told()


@LAWS
@given(histories(), st.sets(NODES))
def test_what_was_touched_narrows_the_work_and_not_the_content(steps: list[Step], more: set[int]) -> None:
    touched = union([step.touched for step in steps] + [Touched(nodes=frozenset(map(NodeId, more)))])
    demand_touched_only_narrows(steps[0], steps[-1], touched)


@LAWS
@given(histories())
def test_nothing_is_sent_where_nothing_changed(steps: list[Step]) -> None:
    state = steps[-1].state
    same = state.replace(next_version(state), {}, {}, None)
    for node_id in state.nodes:
        view = steps[-1].view(node_id)
        again = view_of(same, steps[-1].compiled, view.viewer, steps[-1].environment)
        assert delta(view, again) == ()


@LAWS
@given(histories())
def test_a_book_that_follows_a_class_tells_what_a_fresh_one_tells(steps: list[Step]) -> None:
    demand_books_follow(steps)


@LAWS
@given(histories())
def test_one_shared_delta_serves_the_whole_class(steps: list[Step]) -> None:
    """Who is not mentioned takes the shared text; who is, takes it without itself. What is known of one way
    to the newest state is right for the others."""
    last, telling = steps[-1], Telling(Fragments())
    for first, node_id in ((step, node_id) for step in steps for node_id in step.state.nodes):
        if node_id in last.state.nodes:
            before, after = first.view(node_id), last.view(node_id)
            shared = shared_delta(before.of_class, after.of_class, None, telling)
            texts = [part.text(node_id if node_id in part.mentions else None) for part in shared]
            own = own_delta(before, after)
            assert tuple(text for text in [own, *texts] if text) == delta(before, after)


@LAWS
@given(histories())
def test_a_viewer_is_never_its_own_peer_and_hears_only_of_whom_it_sees(steps: list[Step]) -> None:
    for before, after in pairwise(steps):
        for node_id in before.state.nodes.keys() & after.state.nodes.keys():
            view = after.view(node_id)
            heard = ClientNetmap()
            heard.node = believer(before, node_id).node
            for message in delta(before.view(node_id), view):
                heard.apply_json(message)
            assert all(can_see(view.of_class, peer) for peer in heard.peers)
            assert node_id not in heard.peers


@LAWS
@given(histories())
def test_states_stay_in_order_and_policies_advance_as_they_compile(steps: list[Step]) -> None:
    for step in steps:
        assert list(step.state.nodes) == sorted(step.state.nodes)
        fresh = compile_policy(None, step.state)
        served = {node.id: step.compiled.served_routes(node) for node in step.state.nodes.values()}
        assert served == {node.id: fresh.served_routes(node) for node in step.state.nodes.values()}


def can_see(view: ClassView, node_id: int) -> bool:
    return view.visible(NodeId(node_id)) is not None
