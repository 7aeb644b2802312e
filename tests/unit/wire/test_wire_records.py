"""Limits and damage on the record layer."""

from collections.abc import Iterable

import pytest

from headscale_saas.errors import ProtocolError
from headscale_saas.wire.records import MAX_PLAINTEXT, MAX_RECORD, OVERHEAD, Opener, Sealer

KEY = bytes(range(32))


def opened(chunks: Iterable[bytes]) -> tuple[list[bytes], str | None]:
    """What a reader got, and the words of the error that stopped it."""
    opener = Opener(KEY)
    plain: list[bytes] = []
    try:
        for chunk in chunks:
            for plaintext in opener.feed(chunk):
                plain.append(plaintext)
    except ProtocolError as error:
        return plain, error.message
    return plain, None


@pytest.mark.parametrize("size", [1, MAX_PLAINTEXT - 1, MAX_PLAINTEXT, MAX_PLAINTEXT + 1, 100_000])
def test_what_is_sealed_is_opened(size: int) -> None:
    plaintext = bytes(index % 251 for index in range(size))
    sealed = Sealer(KEY).seal(plaintext)
    records = -(-size // MAX_PLAINTEXT)
    assert len(sealed) == size + records * OVERHEAD
    assert b"".join(Opener(KEY).feed(sealed)) == plaintext


def test_nothing_is_sealed_as_nothing() -> None:
    assert Sealer(KEY).seal(b"") == b""


def test_empty_records_are_skipped() -> None:
    sealer = Sealer(KEY)
    assert opened([sealer._record(b"") + sealer.seal(b"after")]) == ([b"after"], None)


@pytest.mark.parametrize("length", [0, 1, 15, 4094, 4096, 65535])
def test_lengths_out_of_bounds_are_refused_by_the_header_alone(length: int) -> None:
    plain, error = opened([b"\x04" + length.to_bytes(2, "big")])
    assert not plain
    assert error is not None
    assert "length" in error


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 5, ord("G")])
def test_another_type_is_refused_by_its_first_byte(kind: int) -> None:
    assert opened([bytes((kind,))])[1] == "unexpected record type"


def records(count: int) -> list[bytes]:
    sealer = Sealer(KEY)
    return [sealer.seal(b"%d" % index) for index in range(count)]


def flipped(record: bytes) -> bytes:
    return record[:-1] + bytes((record[-1] ^ 1,))


def test_nothing_is_delivered_after_the_first_bad_record() -> None:
    a, b, c, d = records(4)
    for damaged in ([a, flipped(b), c], [a, c, b], [a, a, b], [a, c, d]):
        plain, error = opened([b"".join(damaged)])
        assert plain == [b"0"]
        assert error == "record does not authenticate"


def test_a_broken_channel_stays_broken() -> None:
    opener, (a, b) = Opener(KEY), records(2)
    with pytest.raises(ProtocolError):
        list(opener.feed(flipped(a)))
    for again in (a, b):
        with pytest.raises(ProtocolError):
            list(opener.feed(again))


def test_less_than_one_record_is_held() -> None:
    opener = Opener(KEY)
    sealed = Sealer(KEY).seal(b"x" * 50_000)
    for start in range(0, len(sealed), 777):
        list(opener.feed(sealed[start : start + 777]))
        assert len(opener._buffer) < MAX_RECORD


def test_the_last_nonce_is_not_used() -> None:
    sealer, opener = Sealer(KEY), Opener(KEY)
    sealer._counter = opener._counter = 2**64 - 2
    record = sealer.seal(b"last")
    assert list(opener.feed(record)) == [b"last"]
    with pytest.raises(ProtocolError, match="used up"):
        sealer.seal(b"one too many")
    with pytest.raises(ProtocolError, match="closed"):
        list(opener.feed(record))
