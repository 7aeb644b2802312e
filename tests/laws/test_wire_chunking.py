"""However the bytes are cut on their way, the reader sees the same events."""

from collections.abc import Callable, Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.errors import ProtocolError
from headscale_saas.tailcfg.keys import ChallengeKey
from headscale_saas.wire.early import EarlyReader, early_payload
from headscale_saas.wire.mapframe import FrameReader, frame
from headscale_saas.wire.records import Opener, Sealer

KEY = bytes(32)
Feed = Callable[[bytes], Iterator[bytes]]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def events(feed: Feed, chunks: list[bytes]) -> list[bytes | str]:
    """Everything that came out, the error at its end included."""
    seen: list[bytes | str] = []
    try:
        for chunk in chunks:
            for event in feed(chunk):
                seen.append(event)
    except ProtocolError as error:
        seen.append(error.message)
    return seen


cuts = st.lists(st.integers(min_value=0), max_size=20)
payloads = st.lists(st.binary(min_size=1, max_size=200), max_size=6)


@given(payloads, cuts, st.none() | st.tuples(st.integers(min_value=0), st.integers(1, 255)))
def test_records(plaintexts: list[bytes], places: list[int], damage: tuple[int, int] | None) -> None:
    sealer = Sealer(KEY)
    stream = bytearray(b"".join(sealer.seal(plaintext) for plaintext in plaintexts))
    if damage and stream:
        stream[damage[0] % len(stream)] ^= damage[1]
    whole = events(Opener(KEY).feed, [bytes(stream)])
    assert events(Opener(KEY).feed, cut(bytes(stream), places)) == whole
    assert damage or whole == plaintexts


@given(st.binary(max_size=100), cuts)
def test_random_bytes_as_records(stream: bytes, places: list[int]) -> None:
    assert events(Opener(KEY).feed, cut(stream, places)) == events(Opener(KEY).feed, [stream])


@given(payloads, cuts, st.binary(max_size=10))
def test_map_messages(messages: list[bytes], places: list[int], tail: bytes) -> None:
    stream = b"".join(map(frame, messages)) + tail
    whole = events(FrameReader(1000).feed, [stream])
    assert events(FrameReader(1000).feed, cut(stream, places)) == whole
    assert whole[: len(messages)] == messages


@given(st.booleans(), st.binary(min_size=9, max_size=40), cuts)
def test_early_payload(offered: bool, http2: bytes, places: list[int]) -> None:
    stream = (early_payload(ChallengeKey(KEY)) if offered else b"\0") + http2
    reader = EarlyReader()
    rest = b"".join(reader.feed(chunk) for chunk in cut(stream, places))
    assert rest == (http2 if offered else stream)
    assert (reader.challenge is not None) == offered
