"""Where the nodes of a state stand, and what of that the next state shares."""

from ipaddress import IPv4Address

from msgspec.structs import replace

from headscale_saas.policy.buckets import BUCKET_BITS, bits_for
from headscale_saas.policy.members import Members, members_of
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import NodeId, Role, UserId
from headscale_saas.tailnet.state import TailnetState
from policies import acl, program
from tailnets import make_node, make_state, make_user, next_version, with_nodes

PROGRAM = program(acl("autogroup:admin tag:a user1@", "tag:b:22"))
ADMINS, A, B, FIRST = (PROGRAM.atoms.bit(one) for one in (*PROGRAM.rules[0].sources[:2], *(
    PROGRAM.rules[0].entries[0].destination, PROGRAM.rules[0].sources[2])))  # fmt: skip


def place(state: TailnetState) -> Members:
    return members_of(PROGRAM.atoms, state)


def move(
    members: Members, before: TailnetState, after: TailnetState, *nodes: int, users: tuple[int, ...] = ()
) -> Members:
    touched = Touched(nodes=frozenset(map(NodeId, nodes)), users=frozenset(map(UserId, users)))
    return members.advanced(before, after, touched)


def ids(members: Members, mask: int) -> list[int]:
    return [node.id for node in members.matching(mask)]


STATE = make_state(make_node(1), make_node(2, tags=("tag:a",)), make_node(40, tags=("tag:b",)))


def test_nodes_are_found_by_mask_in_order() -> None:
    members = place(STATE)
    assert ids(members, FIRST | A) == [1, 2]
    assert ids(members, B) == [40]
    assert ids(members, ADMINS) == []


def test_a_report_that_changes_no_mask_changes_nothing() -> None:
    members = place(STATE)
    after = with_nodes(STATE, replace(STATE.nodes[NodeId(1)], endpoints=("203.0.113.1:1",), online=False))
    assert move(members, STATE, after, 1) is members


def test_a_node_that_joins_renews_its_bucket_only() -> None:
    members = place(STATE)
    after = move(members, STATE, state := with_nodes(STATE, make_node(3, tags=("tag:b",))), 3)
    assert ids(after, B) == [3, 40]
    assert ids(members, B) == [40]
    assert after.buckets[1] is members.buckets[1]
    assert after.changed == {3}
    assert ids(move(after, state, with_nodes(state, gone=(40,)), 40), B) == [3]


def test_a_role_moves_all_nodes_of_the_user() -> None:
    members = place(STATE)
    rows = {UserId(1): make_user(1, role=Role.ADMIN)}
    after = STATE.replace(next_version(STATE), {}, rows, None)
    assert ids(move(members, STATE, after, users=(1,)), ADMINS) == [1]


def test_a_new_address_is_told_though_no_mask_changes() -> None:
    members = place(STATE)
    node = replace(STATE.nodes[NodeId(1)], ipv4=IPv4Address("100.64.9.9"))
    after = move(members, STATE, with_nodes(STATE, node), 1)
    bucket, place_of_node = after.of_bucket(NodeId(1))
    assert bucket is not None
    assert bucket.addresses(place_of_node) == ("100.64.9.9", "fd7a:115c:a1e0::1")


def test_who_may_not_take_part_is_nobodys_source() -> None:
    state = make_state(make_node(1, expired=True), make_node(2, authorized=False), make_node(3))
    assert ids(place(state), FIRST) == [3]
    after = with_nodes(state, make_node(1))
    assert ids(move(place(state), state, after, 1), FIRST) == [1, 3]


def test_the_nodes_of_a_user_follow_their_owner() -> None:
    state = make_state(make_node(1), make_node(2), users=(make_user(2),))
    after = with_nodes(state, make_node(2, user_id=UserId(2)))
    assert place(state).of_user == {1: (1, 2)}
    assert move(place(state), state, after, 2).of_user == {1: (1,), 2: (2,)}


def test_buckets_are_wider_where_rules_and_ids_are_many() -> None:
    state = make_state(make_node(5000))
    assert bits_for(50, state) == BUCKET_BITS
    assert bits_for(5000, state) > BUCKET_BITS + 5
    members = members_of(PROGRAM.atoms, state, 5000)
    assert [node.id for node in members.matching(FIRST)] == [5000]


def test_buckets_widen_when_an_id_is_longer() -> None:
    members = members_of(PROGRAM.atoms, STATE, 5000)
    state = with_nodes(STATE, make_node(700, tags=("tag:b",)))
    after = members.advanced(STATE, state, Touched(nodes=frozenset({NodeId(700)})), 5000)
    assert after.bits > members.bits
    assert ids(after, B) == [40, 700]
