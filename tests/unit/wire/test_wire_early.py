"""What comes before HTTP/2, as the client reads it."""

import pytest

from headscale_saas.errors import ProtocolError
from headscale_saas.tailcfg.keys import ChallengeKey
from headscale_saas.wire.early import EarlyReader, early_payload

CHALLENGE = ChallengeKey(bytes(range(32)))
SETTINGS = bytes.fromhex("000000040000000000")


def test_the_payload_is_laid_out_as_documented() -> None:
    body = b'{"nodeKeyChallenge":"%s"}' % str(CHALLENGE).encode()
    assert early_payload(CHALLENGE) == b"\xff\xff\xffTS" + len(body).to_bytes(4, "big") + body


def test_the_challenge_is_read_and_the_rest_is_http2() -> None:
    reader = EarlyReader()
    assert reader.feed(early_payload(CHALLENGE) + SETTINGS) == SETTINGS
    assert reader.challenge == CHALLENGE
    assert reader.feed(b"more") == b"more"


def test_without_a_payload_everything_is_http2() -> None:
    reader = EarlyReader()
    assert reader.feed(SETTINGS) == SETTINGS
    assert reader.challenge is None


def test_an_absent_challenge_means_none_is_offered() -> None:
    reader = EarlyReader()
    assert reader.feed(b"\xff\xff\xffTS\0\0\0\2{}" + SETTINGS) == SETTINGS
    assert reader.challenge is None


@pytest.mark.parametrize(
    "payload", [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b'\0\0\0\x18{"nodeKeyChallenge":"x:"}']
)
def test_what_cannot_be_read_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        EarlyReader().feed(b"\xff\xff\xffTS" + payload + SETTINGS)
