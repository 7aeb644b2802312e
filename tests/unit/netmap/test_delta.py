"""Differences: the smallest form that no client gets wrong."""

import json
from typing import Any

import msgspec
import pytest

from headscale_saas.netmap.delta import delta, shared_delta
from headscale_saas.netmap.full import KEEP_ALIVE
from headscale_saas.netmap.peers import Book, Fragments
from headscale_saas.netmap.session import KEEP_ALIVE_SECONDS, MapSession
from headscale_saas.netmap.view import Environment, View, placeholder_derp_map, view_of
from headscale_saas.policy import compile_policy
from headscale_saas.tailcfg.derpmap import HomeParams
from headscale_saas.tailcfg.keys import DiscoKey
from headscale_saas.tailnet.model import NodeId, UserId
from headscale_saas.tailnet.state import TailnetState
from tailnets import EPOCH, make_node, make_state, make_user, moment, next_version, with_nodes

ENVIRONMENT = Environment(placeholder_derp_map(), "control.example")
NEW_DISCO = DiscoKey(b"d" * 32)


def look(state: TailnetState, node_id: int = 1, environment: Environment = ENVIRONMENT) -> View:
    return view_of(state, compile_policy(None, state), state.nodes[NodeId(node_id)], environment)


def told(before: TailnetState, after: TailnetState, node_id: int = 1) -> list[dict[str, Any]]:
    return [json.loads(text) for text in delta(look(before, node_id), look(after, node_id))]


def change(was: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """What node 1 is told when node 2 changes so."""
    before = make_state(make_node(1), make_node(2, **was))
    return told(before, with_nodes(before, make_node(2, **was, **now)))


@pytest.mark.parametrize(
    ("now", "patch"),
    [
        ({"endpoints": ("192.0.2.33:50122",)}, {"Endpoints": ["192.0.2.33:50122"]}),
        ({"home_derp": 902}, {"DERPRegion": 902}),
        (
            {"online": False, "last_seen": moment(9)},
            {"Online": False, "LastSeen": "2026-01-01T00:00:09Z"},
        ),
        ({"expires_at": moment(9)}, {"KeyExpiry": "2026-01-01T00:00:09Z"}),
        ({"disco_key": NEW_DISCO}, {"DiscoKey": str(NEW_DISCO)}),
        ({"capver": 143}, {"Cap": 143}),
    ],
)
def test_what_moves_often_is_a_patch(now: dict[str, Any], patch: dict[str, Any]) -> None:
    assert change({}, now) == [{"PeersChangedPatch": [{"NodeID": 2} | patch]}]


def test_a_key_that_expires_no_more_has_the_zero_time() -> None:
    before = make_state(make_node(1), make_node(2, expires_at=moment(9)))
    (message,) = told(before, with_nodes(before, make_node(2)))
    assert message["PeersChangedPatch"] == [{"NodeID": 2, "KeyExpiry": "0001-01-01T00:00:00Z"}]


def test_a_disco_key_never_travels_with_news_of_being_offline() -> None:
    """A client drops such a patch whole if it has seen the peer since."""
    (message,) = change({"last_seen": moment(9)}, {"disco_key": NEW_DISCO, "online": False})
    assert message["PeersChangedPatch"] == [
        {"NodeID": 2, "DiscoKey": str(NEW_DISCO)},
        {"NodeID": 2, "Online": False},
    ]


def test_endpoints_that_vanish_are_told_with_the_whole_node() -> None:
    (message,) = change({}, {"endpoints": ()})
    assert message["PeersChanged"][0]["Endpoints"] == []


def test_what_no_patch_can_take_away_is_told_by_removing_the_peer_first() -> None:
    first, second = change({}, {"home_derp": 0})
    assert first == {"PeersRemoved": [2]}
    assert "HomeDERP" not in second["PeersChanged"][0]


def test_the_last_peer_leaves_by_name() -> None:
    before = make_state(make_node(1), make_node(2))
    assert told(before, with_nodes(before, gone=(2,))) == [{"PeersRemoved": [2]}]


def test_a_new_peer_comes_with_its_user_and_without_a_filter() -> None:
    before = make_state(make_node(1), users=(make_user(2),))
    (message,) = told(before, with_nodes(before, make_node(2, user_id=UserId(2))))
    assert message.keys() == {"PeersChanged", "UserProfiles"}
    assert [profile["ID"] for profile in message["UserProfiles"]] == [2]


def test_a_user_who_is_renamed_is_told_to_those_who_see_devices_of_theirs() -> None:
    before = make_state(make_node(1), make_node(2, user_id=UserId(2)), users=(make_user(3),))
    users = {UserId(n): make_user(n, display_name=f"New {n}") for n in (2, 3)}
    after = before.replace(next_version(before), {}, users, None)
    (message,) = told(before, after)
    assert [profile["DisplayName"] for profile in message["UserProfiles"]] == ["New 2"]


def test_a_node_is_not_told_of_its_own_endpoints() -> None:
    before = make_state(make_node(1), make_node(2))
    assert told(before, with_nodes(before, make_node(1, endpoints=("192.0.2.9:1",)))) == []


def test_a_policy_for_nobody_takes_every_peer_away_at_once() -> None:
    before = make_state(*(make_node(number) for number in range(1, 200)))
    messages = told(before, with_nodes(before, make_node(1, expired=True)))
    assert [set(message) for message in messages] == [{"Node"}, {"PeersRemoved", "PacketFilters"}]
    assert messages[1]["PeersRemoved"] == list(range(2, 200))


def test_a_change_of_all_is_compressed_by_chunks_even_for_those_it_mentions() -> None:
    before = make_state(*(make_node(number) for number in range(1, 641)))
    after = before.replace(next_version(before, base_domain="other.example"), {}, {}, None)
    (message,) = shared_delta(look(before).of_class, look(after).of_class)
    private = [piece for piece in message.pieces(without=NodeId(5)) if isinstance(piece, bytes)]
    assert sum(map(len, private)) < len(message.text()) / 5
    assert len(json.loads(message.text(without=NodeId(5)))["PeersChanged"]) == 639


def test_a_relay_map_says_all_of_itself_again() -> None:
    """In a later message an absent member would mean: as before."""
    state = make_state(make_node(1))
    scored = msgspec.structs.replace(placeholder_derp_map(), home_params=HomeParams(region_score={999: 2.0}))
    before = look(state, environment=Environment(scored, "control.example"))
    (text,) = delta(before, look(state))
    assert json.loads(text)["DERPMap"]["HomeParams"] == {"RegionScore": {}}


def test_a_session_sends_keep_alives_only_when_nothing_else_was_sent() -> None:
    before = make_state(make_node(1), make_node(2))
    after = with_nodes(before, make_node(2, home_derp=902))
    session = MapSession(NodeId(1))
    session.first_message(look(before), Book(Fragments()), EPOCH, now=0, jitter=1)
    assert session.tick(now=KEEP_ALIVE_SECONDS, jitter=0) is None
    own, shared = session.next_messages(look(after), shared_delta, now=20, jitter=1)
    assert own is None
    assert json.loads(shared[0].text()) == {"PeersChangedPatch": [{"NodeID": 2, "DERPRegion": 902}]}
    assert session.tick(now=20 + KEEP_ALIVE_SECONDS, jitter=0) is None
    assert session.tick(now=21 + KEEP_ALIVE_SECONDS, jitter=0) == KEEP_ALIVE == b'{"KeepAlive": true}'
