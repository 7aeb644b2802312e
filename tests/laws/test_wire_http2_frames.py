"""HTTP/2 frames come out the same however their bytes are cut."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.errors import ProtocolError
from headscale_saas.transport.frames import PREFACE, FrameCutter

frames = st.binary(max_size=60).map(lambda body: len(body).to_bytes(3, "big") + b"\6\0\0\0\0\0" + body)


def events(chunks: list[bytes]) -> list[object]:
    cutter, seen = FrameCutter(), []
    try:
        for chunk in chunks:
            for frame in cutter.feed(chunk):
                seen.append(frame)
    except ProtocolError as error:
        return [*seen, error.message]
    return [*seen, len(cutter._buffer)]


@given(
    st.booleans(),
    st.lists(frames, max_size=6),
    st.binary(max_size=20),
    st.lists(st.integers(min_value=0), max_size=20),
)
def test_any_chunking(honest: bool, parts: list[bytes], tail: bytes, places: list[int]) -> None:
    stream = (PREFACE if honest else b"") + b"".join(parts) + tail
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    cut = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert events(cut) == events([stream])
