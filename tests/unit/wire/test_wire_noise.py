"""The handshake, against the published vector and against everything that is not one."""

import pytest

from headscale_saas.errors import ProtocolError
from headscale_saas.tailcfg.keys import MachineKey, PrivateKey
from headscale_saas.wire.noise import (
    INITIATION_BYTES,
    Accepted,
    BadFraming,
    Initiator,
    ServerKeys,
    accept,
    error_record,
)
from headscale_saas.wire.records import Opener, Sealer

CLIENT = PrivateKey(bytes.fromhex("0002030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f60"))
CLIENT_PUBLIC = MachineKey(bytes.fromhex("07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"))
CLIENT_EPHEMERAL = PrivateKey(
    bytes.fromhex("2022232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40")
)
SERVER = PrivateKey(bytes.fromhex("4042434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f60"))
SERVER_PUBLIC = MachineKey(bytes.fromhex("64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466"))
SERVER_EPHEMERAL = PrivateKey(
    bytes.fromhex("6062636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f40")
)
OTHER = PrivateKey(bytes(range(100, 132)))
INITIATION = bytes.fromhex(
    "008e0100605869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b822e8514e6389169bdfd10af"
    "ecae5bded9cda3f0157ac1d03cd3620b3bb73a86859424109cac4aa89fa29ba8b8be69c6f15874368ebfe68cfc7708a4a7"
    "7f4e80"
)
RESPONSE = bytes.fromhex(
    "020030244fe3b963e899dd295baffce248d3530f3a9a7479ba063002680ebfe7adad498dab51dc909015e6da82e02d62770ae0"
)
C1 = bytes.fromhex("9d8a0c9bfad81a7ac34484c53c3b9e730edd3c0249faac7826a8cf9f4b9713b1")
C2 = bytes.fromhex("5c591b6bc88039fb598c45334d246af59501be8061e51f3950afafc7d1fb28cb")
HASH = bytes.fromhex("aa8ab4cb4b7601bfd78386afcd897a15e598f3a7ba00f00d644fcfaacca1b62d")


def initiator(version: int = 142) -> Initiator:
    return Initiator(CLIENT, SERVER_PUBLIC, CLIENT_EPHEMERAL, version)


def responder(initiation: bytes) -> Accepted:
    return accept(initiation, ServerKeys(SERVER), SERVER_EPHEMERAL)


def test_both_halves_reproduce_the_vector() -> None:
    client = initiator()
    assert client.initiation == INITIATION
    accepted = responder(INITIATION)
    assert accepted.response == RESPONSE
    assert accepted.machine_key == CLIENT_PUBLIC
    assert accepted.protocol_version == 142
    channel = client.take(bytearray(RESPONSE))
    assert channel == accepted.channel
    assert (channel.client_to_server, channel.server_to_client, channel.handshake_hash) == (C1, C2, HASH)


def test_records_reproduce_the_vector() -> None:
    sealer, opener = Sealer(C2), Opener(C2)
    records = [sealer.seal(b"hello0"), sealer.seal(b"hello1")]
    for _ in range(2, 256):
        records.append(sealer.seal(b"x"))
    records.append(sealer.seal(b"hello2"))
    assert records[0].hex() == "040016f151e3d25a647c73f254792251b89d4da9d7753a33e7"
    assert records[1].hex() == "040016dd35ae70d1af887dcee9e0864886d1ad81940b42f1e1"
    assert records[256].hex() == "04001665744c8e94ada82cff152a65e70edd937f097e96c69f"
    assert b"".join(opener.feed(b"".join(records))) == b"hello0hello1" + b"x" * 254 + b"hello2"


def test_the_response_is_taken_when_it_is_whole_and_no_more() -> None:
    client, buffer = initiator(), bytearray()
    for byte in RESPONSE[:-1]:
        buffer.append(byte)
        assert client.take(buffer) is None
    buffer += RESPONSE[-1:] + b"records"
    assert client.take(buffer) is not None
    assert buffer == b"records"


def test_any_key_of_the_set_is_accepted() -> None:
    keys = ServerKeys(OTHER, accepted=[SERVER])
    assert keys.serving != SERVER_PUBLIC
    assert accept(INITIATION, keys, SERVER_EPHEMERAL).response == RESPONSE


def test_a_retired_key_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not encrypted to a key of this service"):
        accept(INITIATION, ServerKeys(OTHER), SERVER_EPHEMERAL)


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (b"", "size"),
        (INITIATION[:-1], "size"),
        (INITIATION + b"\0", "size"),
        (INITIATION[:2] + b"\2" + INITIATION[3:], "type"),
        (INITIATION[:2] + b"\4" + INITIATION[3:], "type"),
        (INITIATION[:3] + b"\0\x61" + INITIATION[5:], "length"),
    ],
)
def test_what_is_no_initiation_is_told_so(damaged: bytes, words: str) -> None:
    with pytest.raises(BadFraming, match=words) as refused:
        responder(damaged)
    assert refused.value.reply == error_record(refused.value.message)
    with pytest.raises(ProtocolError, match=words):
        initiator().take(bytearray(refused.value.reply))


@pytest.mark.parametrize("version", [0, 1, 67, 142, 65535])
def test_the_version_is_reported_and_not_judged(version: int) -> None:
    assert responder(initiator(version).initiation).protocol_version == version


def test_the_version_is_authenticated() -> None:
    with pytest.raises(ProtocolError):
        responder(b"\x00\x8f" + INITIATION[2:])


@pytest.mark.parametrize("offset", [5, 36, 37, 84, 85, 100])
def test_a_flipped_bit_is_refused(offset: int) -> None:
    damaged = bytearray(INITIATION)
    damaged[offset] ^= 1
    with pytest.raises(ProtocolError):
        responder(bytes(damaged))


LOW_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_points_are_refused(point: str) -> None:
    with pytest.raises(ProtocolError, match="unusable key"):
        responder(INITIATION[:5] + bytes.fromhex(point) + INITIATION[37:])
    with pytest.raises(ProtocolError, match="does not authenticate"):
        initiator().take(bytearray(RESPONSE[:3] + bytes.fromhex(point) + RESPONSE[35:]))


def test_a_replayed_initiation_leads_nowhere() -> None:
    """The replayer does not hold the client's ephemeral, so the second channel's keys stay unknown to it."""
    first = responder(INITIATION)
    second = accept(INITIATION, ServerKeys(SERVER), OTHER)
    assert second.response != first.response
    assert second.channel.server_to_client != first.channel.server_to_client


def test_a_response_from_another_server_is_refused() -> None:
    forged = bytearray(RESPONSE)
    forged[-1] ^= 1
    with pytest.raises(ProtocolError, match="does not authenticate"):
        initiator().take(forged)


@pytest.mark.parametrize("start", [b"HTTP", b"\x04\x00\x30", b"\x02\x00\x31", b"\x03\xff\xff"])
def test_what_is_no_response_is_refused_by_its_header(start: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a handshake response"):
        initiator().take(bytearray(start))


def test_the_initiation_has_the_documented_size() -> None:
    assert len(INITIATION) == INITIATION_BYTES
