"""The whole netmap: what a client must find in its first message."""

import json
from typing import Any

import pytest

from headscale_saas.netmap.full import farewell, full_pieces, full_response, pieces_without_peers
from headscale_saas.netmap.identity import TAGGED_DEVICES, TAGGED_SELF_BASE
from headscale_saas.netmap.peers import Book, Fragments
from headscale_saas.netmap.pieces import Shared, joined
from headscale_saas.netmap.view import Environment, View, placeholder_derp_map, view_of
from headscale_saas.policy import compile_policy
from headscale_saas.tailcfg.codec import decode
from headscale_saas.tailcfg.hostinfo import NetInfo
from headscale_saas.tailcfg.maps import MapResponse
from headscale_saas.tailnet.model import Node, NodeId, Role
from headscale_saas.tailnet.state import TailnetState
from tailnets import EPOCH, make_hostinfo, make_node, make_state, make_user

ENVIRONMENT = Environment(placeholder_derp_map(), "control.example")


def look(state: TailnetState, node_id: int) -> View:
    return view_of(state, compile_policy(None, state), state.nodes[NodeId(node_id)], ENVIRONMENT)


def told(state: TailnetState, node_id: int = 1) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(full_response(look(state, node_id), EPOCH))
    return document


def test_the_first_message_holds_all_that_a_client_needs() -> None:
    message = told(make_state(make_node(1), make_node(2)))
    assert message["Node"]["Name"] == "node-1.tail.example."
    assert message["Node"]["MachineAuthorized"] is True
    assert message["DNSConfig"] == {
        "Routes": {"tail.example": []},
        "Domains": ["tail.example"],
        "Proxied": True,
    }
    assert message["PacketFilters"]["base"][0]["SrcIPs"] == ["*"]
    assert message["SSHPolicy"] == {"rules": []}
    assert message["UserProfiles"][0] == {"ID": 1, "LoginName": "user1", "DisplayName": "user1"}
    assert message["ControlTime"] == "2026-01-01T00:00:00Z"
    assert message["Debug"] == {"DisableLogTail": True}
    assert list(message["DERPMap"]["Regions"]) == ["999"]
    assert (message["Domain"], message["CollectServices"], message["Health"]) == (
        "control.example",
        False,
        [],
    )


def test_a_peer_shows_what_clients_read_and_nothing_else() -> None:
    info = make_hostinfo(2)
    hidden = NetInfo(preferred_derp=901)
    peer = make_node(2, hostinfo=type(info)(os="linux", hostname="b", go_version="1.26", net_info=hidden))
    row = told(make_state(make_node(1), peer))["Peers"][0]
    assert row["Hostinfo"] == {"OS": "linux", "Hostname": "b"}
    assert row["Online"] is True
    assert row["AllowedIPs"] == row["Addresses"] == ["100.64.0.2/32", "fd7a:115c:a1e0::2/128"]
    assert (row["Cap"], row["HomeDERP"]) == (142, 901)
    assert not {"Machine", "MachineAuthorized"} & row.keys()


def test_a_peer_without_endpoints_says_so() -> None:
    assert told(make_state(make_node(1), make_node(2, endpoints=())))["Peers"][0]["Endpoints"] == []


def test_what_a_node_reports_all_the_time_is_not_told_back() -> None:
    node = told(make_state(make_node(1)))["Node"]
    assert "Endpoints" not in node
    assert node["Hostinfo"] == {"OS": "linux", "Hostname": "Node 1"}


def test_tagged_nodes_share_a_user_as_peers_and_have_their_own_as_themselves() -> None:
    """Else clients would take all tagged nodes for devices of one owner."""
    message = told(make_state(*(make_node(number, tags=("tag:x",)) for number in (1, 2, 3))))
    assert {peer["User"] for peer in message["Peers"]} == {TAGGED_DEVICES}
    assert message["Node"]["User"] == TAGGED_SELF_BASE + 1
    names = {profile["ID"]: profile["LoginName"] for profile in message["UserProfiles"]}
    assert names == {TAGGED_DEVICES: "tagged-devices", TAGGED_SELF_BASE + 1: "node-1.tail.example"}
    assert TAGGED_DEVICES < 2**53


@pytest.mark.parametrize(("capver", "by_capability"), [(142, True), (131, True), (130, False), (113, False)])
def test_auto_update_is_said_as_the_client_reads_it(capver: int, by_capability: bool) -> None:
    message = told(make_state(make_node(1, capver=capver), auto_update=True))
    assert message["Node"]["CapMap"].get("default-auto-update") == ([True] if by_capability else None)
    assert message.get("DefaultAutoUpdate") == (None if by_capability else True)


def test_only_admins_are_told_that_they_are() -> None:
    admin = make_user(2, role=Role.ADMIN)
    state = make_state(make_node(1), make_node(2, user_id=2), users=(admin,))
    capability = "https://tailscale.com/cap/is-admin"
    assert [capability in told(state, number)["Node"]["CapMap"] for number in (1, 2)] == [False, True]


@pytest.mark.parametrize("flaw", [{"expired": True}, {"authorized": False}])
def test_who_may_not_take_part_is_told_of_nobody_but_itself(flaw: dict[str, bool]) -> None:
    message = told(make_state(make_node(1, **flaw), make_node(2, user_id=2)))
    assert message["Peers"] == []
    assert [profile["ID"] for profile in message["UserProfiles"]] == [1]
    assert message["PacketFilters"] == {"*": None, "base": []}


@pytest.mark.parametrize("numbers", [(1,), (1, 2), (1, 64), (1, 200), (63, 64, 65), (1, 64, 128, 130)])
def test_pieces_make_one_object_wherever_the_viewer_is(numbers: tuple[int, ...]) -> None:
    state = make_state(*(make_node(number, user_id=number) for number in numbers))
    for viewer in numbers:
        message = told(state, viewer)
        assert [peer["ID"] for peer in message["Peers"]] == [n for n in numbers if n != viewer]
        assert {profile["ID"] for profile in message["UserProfiles"]} == set(numbers)
        assert decode(MapResponse, full_response(look(state, viewer), EPOCH)).node is not None


def test_a_viewer_costs_only_its_own_chunk_and_its_head() -> None:
    state = make_state(*(make_node(number) for number in range(1, 641)))
    book = Book(Fragments())
    first = {id(p.chunk) for p in full_pieces(look(state, 5), book, EPOCH) if isinstance(p, Shared)}
    pieces = full_pieces(look(state, 70), book, EPOCH)
    shared = {id(piece.chunk) for piece in pieces if isinstance(piece, Shared)}
    assert len(shared & first) == len(shared) - 1 == 11  # nine spans of peers, one of profiles, the rest
    assert len([piece for piece in pieces if isinstance(piece, bytes)]) == 2


def test_a_deleted_node_is_told_that_its_key_has_expired() -> None:
    node = json.loads(farewell(look(make_state(make_node(1)), 1), EPOCH))["Node"]
    assert node["Expired"] is True
    assert node["KeyExpiry"] < "2026-01-01"


def test_peers_can_be_left_out() -> None:
    view = look(make_state(make_node(1), make_node(2)), 1)
    message = json.loads(joined(pieces_without_peers(view, Book(Fragments()), EPOCH)))
    assert "Peers" not in message
    assert message["Node"]["ID"] == 1


def test_encoding_can_be_done_in_steps() -> None:
    state = make_state(*(make_node(number) for number in range(1, 201)))
    fragments, view = Fragments(), look(state, 1)
    assert sum(1 for _ in fragments.warming(view.of_class)) == 3
    node: Node = state.nodes[NodeId(7)]
    assert fragments.peer(view.of_class, node) is fragments.peer(view.of_class, node)
