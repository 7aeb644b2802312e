"""Who sees whom, and which routes."""

import pytest
from msgspec.structs import replace

from headscale_saas.policy.resolution import Resolution
from headscale_saas.tailnet.model import Node, UserId
from policies import acl, advanced, grant, resolved, sees
from tailnets import make_node, make_state, with_nodes

ROUTE, OTHER_ROUTE = "10.33.0.0/16", "10.44.0.0/16"
EXIT = ("0.0.0.0/0", "::/0")
A, B, C = (make_node(n, tags=(f"tag:{tag}",)) for n, tag in enumerate("abc", 1))


def router(number: int, tag: str = "c", *routes: str, **changes: object) -> Node:
    routes = routes or (ROUTE,)
    return make_node(number, tags=(f"tag:{tag}",), routable_ips=routes, approved_routes=routes, **changes)


def routes(resolution: Resolution, viewer: Node, peer: Node) -> tuple[str, ...]:
    return resolution.peer_routes(resolution.audience(viewer), peer)


def test_one_direction_makes_both_visible() -> None:
    resolution = resolved(make_state(A, B, C), acl("tag:a", "tag:b:22"))
    assert sees(resolution, A, B)
    assert sees(resolution, B, A)
    assert not sees(resolution, A, C)
    assert list(resolution.peers(resolution.audience(A)) or ()) == [2]


def test_whoever_sees_all_is_not_told_where_to_look() -> None:
    resolution = resolved(make_state(A, B, C), acl("tag:a", "*:22"))
    assert resolution.peers(resolution.audience(A)) is None


def test_a_router_speaks_for_what_is_behind_it() -> None:
    far = router(4)
    assert sees(resolved(make_state(A, far), acl("tag:a", "10.33.1.0/24:22")), A, far)
    assert sees(resolved(make_state(A, far), acl("10.33.1.1", "tag:a:22")), A, far)
    assert not sees(resolved(make_state(A, far), acl("tag:a", "10.44.0.0/16:22")), A, far)
    other = router(5, "b", OTHER_ROUTE)
    assert sees(resolved(make_state(other, far), acl(ROUTE, f"{OTHER_ROUTE}:1")), other, far)


def test_own_nodes_see_each_other_and_nobody_else() -> None:
    mine, phone, foreign = make_node(1), make_node(2), make_node(3, user_id=UserId(2))
    resolution = resolved(make_state(mine, phone, foreign, C), acl("autogroup:member", "autogroup:self:*"))
    assert sees(resolution, mine, phone)
    assert not sees(resolution, mine, foreign)
    assert not sees(resolution, C, C)


def test_a_route_is_shown_to_those_who_may_use_it() -> None:
    far = router(4)
    resolution = resolved(make_state(A, B, far), acl("tag:a", "10.33.7.7:22"), acl("tag:b", "tag:c:22"))
    assert routes(resolution, A, far) == (ROUTE,)
    assert sees(resolution, B, far)
    assert routes(resolution, B, far) == ()


def test_a_route_is_shown_to_those_who_are_used_from_behind_it() -> None:
    far = router(4)
    assert routes(resolved(make_state(A, far), acl("10.33.0.0/24", "tag:a:22")), A, far) == (ROUTE,)


def test_the_partner_of_a_router_sees_the_route() -> None:
    first, second = router(4), router(5)
    resolution = resolved(make_state(first, second), acl("tag:c", "tag:c:22"))
    assert routes(resolution, second, first) == (ROUTE,)
    assert routes(resolution, first, second) == ()


def test_exit_routes_are_for_those_who_may_use_the_internet() -> None:
    far = router(4, "c", *EXIT)
    resolution = resolved(
        make_state(A, B, far), acl("tag:a", "autogroup:internet:*"), acl("tag:b", "tag:c:*")
    )
    assert routes(resolution, A, far) == EXIT
    assert sees(resolution, B, far)
    assert routes(resolution, B, far) == ()


def test_a_way_through_routers_leads_through_the_first_of_them() -> None:
    """Also past the router that serves the tailnet."""
    plain, first, second = router(4, "c"), router(5, "b"), router(6, "b")
    state = make_state(A, plain, first, second)
    resolution = resolved(state, grant("tag:a", ROUTE, via=["tag:b"]))
    assert [routes(resolution, A, one) for one in (plain, first, second)] == [(), (ROUTE,), ()]
    assert not sees(resolution, A, plain)
    assert sees(resolution, A, second)


def test_the_next_router_takes_over_when_the_first_is_away() -> None:
    first, second = router(5, "b"), router(6, "b")
    state = make_state(A, router(4), first, second)
    before = resolved(state, grant("tag:a", ROUTE, via=["tag:b"]))
    away = replace(first, online=False)
    after = advanced(before, state, with_nodes(state, away), 5)
    assert [routes(after, A, one) for one in (away, second)] == [(), (ROUTE,)]
    moved = after.moved_since(before)
    assert moved is not None
    assert {5, 6} <= moved


def test_who_may_use_a_route_anyway_follows_the_tailnets_router() -> None:
    plain, first = router(4, "c"), router(5, "b")
    resolution = resolved(
        make_state(A, plain, first), grant("tag:a", ROUTE, via=["tag:b"]), acl("tag:a", f"{ROUTE}:22")
    )
    assert [routes(resolution, A, one) for one in (plain, first)] == [(ROUTE,), ()]


def test_all_exit_nodes_of_a_way_can_be_chosen() -> None:
    nodes = [router(4, "b", *EXIT), router(5, "b", *EXIT), router(6, "c", *EXIT)]
    resolution = resolved(make_state(A, *nodes), grant("tag:a", "autogroup:internet", via=["tag:b"]))
    assert [routes(resolution, A, one) for one in nodes] == [EXIT, EXIT, ()]


def test_nodes_without_ipv4_are_told_without_it_and_told_of_nobodys() -> None:
    entry = {"target": ["tag:a"], "attr": ["disable-ipv4"]}
    resolution = resolved(make_state(A, B, C), acl("*", "*:*"), nodeAttrs=[entry])
    hides = resolution.hides_ipv4
    assert hides(resolution.audience(A), A)
    assert hides(resolution.audience(A), B)
    assert hides(resolution.audience(B), A)
    assert not hides(resolution.audience(B), C)


@pytest.mark.parametrize("flaw", [{"expired": True}, {"authorized": False}])
def test_who_may_not_take_part_serves_no_route(flaw: dict[str, bool]) -> None:
    far = router(4, **flaw)
    resolution = resolved(make_state(A, far), acl("tag:a", f"{ROUTE}:1 tag:c:1"))
    assert resolution.served_routes(far) == ()
    assert routes(resolution, A, far) == ()
