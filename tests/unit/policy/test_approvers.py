"""Who may take which tag, which routes are approved by themselves, where addresses come from."""

from ipaddress import IPv4Network, ip_network

import pytest

from headscale_saas.policy.approvers import Approvers
from headscale_saas.policy.language.document import Document, NodeAttr, RouteApprover
from headscale_saas.policy.language.positions import Position
from headscale_saas.policy.language.selectors import ANY, MEMBER, TAGGED, Kind, Selector
from headscale_saas.tailnet.model import Role
from tailnets import make_user

ALICE = make_user(1, email="alice@example.com")
BOB = make_user(2, email="bob@example.com")
ADMIN = make_user(3, email="root@example.com", role=Role.ADMIN)
AUDITOR = make_user(4, email="auditor@example.com", role=Role.AUDITOR)


def user(name: str) -> Selector:
    return Selector(Kind.USER, f"{name}@example.com")


def tag(name: str) -> Selector:
    return Selector(Kind.TAG, f"tag:{name}")


ENGINEERS = Selector(Kind.GROUP, "group:eng")

TAGS = Approvers(
    Document(
        groups={"group:eng": (user("alice"),)},
        tag_owners={
            "tag:web": (user("alice"),),
            "tag:team": (ENGINEERS,),
            "tag:ci": (),
            "tag:k8s": (tag("ci"),),
            "tag:pod": (tag("k8s"), user("bob")),
            "tag:left": (tag("right"), user("bob")),
            "tag:right": (tag("left"),),
            "tag:self": (tag("self"),),
            "tag:members": (MEMBER,),
        },
    )
)


def test_tags_are_known_if_they_have_an_entry() -> None:
    assert TAGS.has_tag("tag:ci")
    assert not TAGS.has_tag("tag:unknown")


@pytest.mark.parametrize("wanted", ["tag:web", "tag:team", "tag:members"])
def test_owners_may_apply_a_tag_themselves_through_a_group_or_a_role(wanted: str) -> None:
    assert TAGS.may_have_tags(ALICE, (), [wanted])


@pytest.mark.parametrize("wanted", ["tag:web", "tag:team", "tag:ci", "tag:self", "tag:unknown"])
def test_others_may_not(wanted: str) -> None:
    assert not TAGS.may_have_tags(BOB, (), [wanted])


def test_every_wanted_tag_must_be_allowed() -> None:
    assert not TAGS.may_have_tags(ALICE, (), ["tag:web", "tag:ci"])


def test_who_holds_a_tag_may_hand_out_it_and_what_it_owns_however_far() -> None:
    assert TAGS.may_have_tags(None, ["tag:ci"], ["tag:ci", "tag:k8s", "tag:pod"])
    assert not TAGS.may_have_tags(None, ["tag:pod"], ["tag:k8s"])
    assert not TAGS.may_have_tags(None, ["tag:unknown"], ["tag:unknown"])


def test_circles_of_owners_are_harmless() -> None:
    assert TAGS.may_have_tags(BOB, (), ["tag:left", "tag:right"])
    assert not TAGS.may_have_tags(ALICE, (), ["tag:left"])


def test_admins_may_apply_every_tag_that_is_defined() -> None:
    assert TAGS.may_have_tags(ADMIN, (), ["tag:ci", "tag:self"])
    assert not TAGS.may_have_tags(ADMIN, (), ["tag:unknown"])
    assert not TAGS.may_have_tags(AUDITOR, (), ["tag:ci"])


def approvers(*routes: tuple[str, Selector], exit_node: tuple[Selector, ...] = ()) -> Approvers:
    entries = tuple(RouteApprover(ip_network(prefix), (who,)) for prefix, who in routes)
    return Approvers(Document(route_approvers=entries, exit_node_approvers=exit_node))


@pytest.mark.parametrize(
    ("route", "tags", "expected"),
    [
        ("10.0.0.0/8", ("tag:router",), True),
        ("10.33.0.0/16", ("tag:router",), True),
        ("10.33.0.0/16", ("tag:narrow",), True),
        ("10.34.0.0/16", ("tag:narrow",), False),
        ("0.0.0.0/1", ("tag:router",), False),
        ("fd00::/64", ("tag:router",), False),
        ("10.0.0.0/8", ("tag:other",), False),
        ("10.0.0.0/8", (), False),
    ],
)
def test_any_entry_around_a_route_approves_it(route: str, tags: tuple[str, ...], expected: bool) -> None:
    decides = approvers(("10.0.0.0/8", tag("router")), ("10.33.0.0/16", tag("narrow")))
    assert decides.approves_route(ip_network(route), None, tags) is expected


def test_a_prefix_around_everything_approves_subnets_and_no_exit_route() -> None:
    decides = approvers(("0.0.0.0/0", tag("router")))
    assert decides.approves_route(ip_network("192.168.1.0/24"), None, ["tag:router"])
    assert not decides.approves_route(ip_network("0.0.0.0/0"), None, ["tag:router"])


@pytest.mark.parametrize("route", ["0.0.0.0/0", "::/0"])
def test_exit_routes_have_approvers_of_their_own(route: str) -> None:
    decides = approvers(exit_node=(tag("exit"),))
    assert decides.approves_route(ip_network(route), None, ["tag:exit"])
    assert not decides.approves_route(ip_network(route), None, ["tag:router"])
    assert not decides.approves_route(ip_network("10.0.0.0/8"), None, ["tag:exit"])


def test_users_approve_for_their_own_nodes_and_not_for_tagged_ones() -> None:
    decides = approvers(("10.0.0.0/8", user("alice")))
    assert decides.approves_route(ip_network("10.0.0.0/8"), ALICE, ())
    assert not decides.approves_route(ip_network("10.0.0.0/8"), BOB, ())
    assert not decides.approves_route(ip_network("10.0.0.0/8"), ALICE, ["tag:web"])


def pool(prefix: str, *targets: Selector) -> NodeAttr:
    return NodeAttr(position=Position(1, 1), targets=targets, ip_pools=(IPv4Network(prefix),))


def test_new_nodes_take_addresses_from_the_pools_of_their_owner() -> None:
    entries = (
        pool("100.81.0.0/16", user("alice")),
        pool("100.82.0.0/16", MEMBER),
        pool("100.83.0.0/16", TAGGED),
    )
    pools = Approvers(Document(node_attrs=entries)).address_pools
    assert pools(ALICE, ()) == (IPv4Network("100.81.0.0/16"), IPv4Network("100.82.0.0/16"))
    assert pools(BOB, ()) == (IPv4Network("100.82.0.0/16"),)
    assert pools(None, ["tag:web"]) == (IPv4Network("100.83.0.0/16"),)


def test_without_a_pool_addresses_come_from_anywhere() -> None:
    assert Approvers(Document()).address_pools(ALICE, ()) == ()
    assert Approvers(Document(node_attrs=(pool("100.81.0.0/16", ANY),))).address_pools(None, ["tag:x"])
