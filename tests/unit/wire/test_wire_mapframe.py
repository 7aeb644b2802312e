"""Messages of the map poll's body."""

import json

import pytest
import zstandard

from headscale_saas.errors import ProtocolError
from headscale_saas.wire.mapframe import (
    KEEP_ALIVE,
    KEEP_ALIVE_JSON,
    KEEP_ALIVE_ZSTD,
    MAX_MESSAGE,
    FrameReader,
    compress,
    decompress,
    frame,
)


def test_the_length_is_little_endian() -> None:
    assert frame(b"abc") == b"\3\0\0\0abc"


def test_messages_are_read_back() -> None:
    reader = FrameReader()
    assert list(reader.feed(frame(b"a") + frame(b"bc") + b"\1\0")) == [b"a", b"bc"]
    assert reader.pending == 2
    assert list(reader.feed(b"\0\0d")) == [b"d"]
    assert reader.pending == 0


@pytest.mark.parametrize("length", [0, MAX_MESSAGE + 1, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_by_the_header(length: int) -> None:
    with pytest.raises(ProtocolError, match="length"):
        list(FrameReader().feed(length.to_bytes(4, "little")))


def test_a_netmap_may_be_several_zstd_frames() -> None:
    assert decompress(compress(b'{"Peers":[') + compress(b"1,2") + compress(b"]}")) == b'{"Peers":[1,2]}'


def test_a_compressed_message_names_its_size_and_has_no_checksum() -> None:
    parameters = zstandard.get_frame_parameters(compress(b"x" * 1000))
    assert parameters.content_size == 1000
    assert not parameters.has_checksum


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        decompress(compress(bytes(MAX_MESSAGE)) + compress(b"x"))


@pytest.mark.parametrize("damage", [b"not zstd", compress(b"abc" * 100)[:6]])
def test_damage_is_refused(damage: bytes) -> None:
    with pytest.raises(ProtocolError):
        decompress(damage)


def test_the_keep_alive_is_not_the_text_that_clients_cache() -> None:
    assert json.loads(KEEP_ALIVE_JSON) == {"KeepAlive": True}
    assert b" " in KEEP_ALIVE_JSON
    assert list(FrameReader().feed(KEEP_ALIVE)) == [KEEP_ALIVE_JSON]
    assert [decompress(message) for message in FrameReader().feed(KEEP_ALIVE_ZSTD)] == [KEEP_ALIVE_JSON]
