"""JSON from strangers: read as Go reads it, refused without a crash."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.errors import Invalid
from headscale_saas.tailcfg.codec import MAX_BODY_BYTES, decode, encode
from headscale_saas.tailcfg.control import EarlyNoise, OverTLSPublicKeyResponse
from headscale_saas.tailcfg.keys import ChallengeKey, MachineKey
from headscale_saas.tailcfg.maps import MapRequest, MapResponse, PeerChange
from headscale_saas.tailcfg.register import RegisterRequest, RegisterResponse

NODE_KEY = "nodekey:" + "a1" * 32

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_nulls_are_not_looked_for_in_a_message_that_no_client_sends() -> None:
    text = b'{"NodeKey":null,"Later":[' + b",".join([b"[]"] * 30_000) + b"]}"
    with pytest.raises(Invalid):
        decode(MapRequest, text)


def test_absent_null_and_unknown_members_are_nothing() -> None:
    text = b'{"NodeKey":null,"Endpoints":null,"Hostinfo":{"Services":null,"NetInfo":null},"Later":{"x":[1]}}'
    request = decode(MapRequest, text)
    assert request.node_key.is_zero
    assert request.endpoints == ()
    assert request.hostinfo is not None
    assert request.hostinfo.services == ()


def test_the_zero_time_is_none_and_other_times_are_in_utc() -> None:
    assert decode(RegisterRequest, b'{"Expiry":"0001-01-01T00:00:00Z"}').expiry is None
    request = decode(RegisterRequest, b'{"Expiry":"2026-01-01T02:00:00.123456789+02:00"}')
    assert request.expiry == datetime(2026, 1, 1, 0, 0, 0, 123457, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'{"Version":NaN}',
        b'{"Version":1e999}',
        b'{"Version":1.5}',
        b'{"Version":99999999999999999999}',
        b'{"Version":"113"}',
        b'{"NodeKey":""}',
        b'{"NodeKey":"mkey:' + b"a1" * 32 + b'"}',
        b'{"NodeKey":7}',
        b'{"Expiry":"2026-01-01T00:00:00"}',
        b'{"Expiry":"9999-12-31T23:59:59-10:00"}',
        b'{"Followup":"\\ud800"}',
        b'{"Followup":"a\\u0000b"}',
        b'{"Followup":"\xff"}',
        b'{"Followup":"\xed\xa0\x80"}',
        b'{"Later":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"Hostinfo":null,"Later":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        b'{"Version":' + b"9" * 10_000 + b"}",
        b" " * (MAX_BODY_BYTES + 1),
    ],
)
def test_what_cannot_be_read_is_invalid(text: bytes) -> None:
    with pytest.raises(Invalid) as refusal:
        decode(RegisterRequest, text)
    assert len(str(refusal.value)) <= 300


def test_an_escaped_backslash_before_u0000_is_only_text() -> None:
    assert decode(RegisterRequest, rb'{"Followup":"\\u0000"}').followup == r"\u0000"


def test_of_two_equal_names_the_last_wins() -> None:
    assert decode(MapRequest, b'{"Version":1,"Version":2}').version == 2


@given(st.dictionaries(st.sampled_from(["NodeKey", "Hostinfo", "Endpoints", "Version", "x"]), JSON_VALUES))
def test_any_json_is_read_or_refused(document: dict[str, object]) -> None:
    text = json.dumps(document).encode()
    try:
        request = decode(MapRequest, text)
    except Invalid:
        return
    assert decode(MapRequest, encode(request)) == request


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        decode(MapRequest, data)
    except Invalid:
        return


def test_a_register_response_writes_every_member() -> None:
    assert json.loads(encode(RegisterResponse(error="no"))) == {
        "User": {},
        "Login": {},
        "NodeKeyExpired": False,
        "MachineAuthorized": False,
        "AuthURL": "",
        "NodeKeySignature": None,
        "Error": "no",
    }


def test_empty_lists_are_told_from_absent_ones() -> None:
    assert encode(MapResponse(peers=(), health=())) == b'{"Peers":[],"Health":[]}'
    assert encode(PeerChange(node_id=1, endpoints=(), cap_map={})) == (
        b'{"NodeID":1,"CapMap":{},"Endpoints":[]}'
    )


def test_a_filter_can_be_deleted_by_name() -> None:
    assert encode(MapResponse(packet_filters={"*": None})) == b'{"PacketFilters":{"*":null}}'
    assert decode(MapResponse, b'{"PacketFilters":{"*":null}}').packet_filters == {"*": None}


def test_keys_of_the_first_contact() -> None:
    key = MachineKey(b"\x01" * 32)
    assert json.loads(encode(OverTLSPublicKeyResponse(public_key=key))) == {
        "legacyPublicKey": "mkey:" + "00" * 32,
        "publicKey": "mkey:" + "01" * 32,
    }
    early = encode(EarlyNoise(node_key_challenge=ChallengeKey(b"\x02" * 32)))
    assert early == b'{"nodeKeyChallenge":"chalpub:' + b"02" * 32 + b'"}'
