"""The hot path is `send_data` in everything but its price."""

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.transport.http2 import ServerH2
from headscale_saas.transport.limits import Limits
from headscale_saas.transport.windows import HotWindows

FIELDS = [(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "x")]


def pair(window: int) -> tuple[H2Connection, ServerH2]:
    client, server = H2Connection(H2Configuration(client_side=True)), ServerH2(Limits())
    client.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
    client.initiate_connection()
    server.initiate_connection()
    for number in (1, 3):
        client.send_headers(number, FIELDS, end_stream=number == 1)
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    for number in (1, 3):
        server.send_headers(number, [(":status", "200")])
    server.data_to_send()
    return client, server


def state(server: ServerH2) -> Any:
    streams = {number: stream.outbound_flow_control_window for number, stream in server.streams.items()}
    return server.outbound_flow_control_window, streams


def by_library(server: ServerH2, number: int, payload: bytes) -> bytes | None:
    before = state(server)
    try:
        server.send_data(number, payload)
    except (H2Error, KeyError):
        assert state(server) == before
        return None
    return server.data_to_send()


def by_hand(server: ServerH2, number: int, payload: bytes) -> bytes | None:
    stream = server.streams.get(number)
    return HotWindows(server).data(stream, payload) if stream is not None else None


send = st.tuples(st.just("send"), st.sampled_from([1, 3]), st.integers(1, 20_000))
grant = st.tuples(st.just("grant"), st.sampled_from([0, 1, 3]), st.integers(1, 50_000))
resize = st.tuples(st.just("resize"), st.just(0), st.integers(0, 200_000))
finish = st.tuples(st.sampled_from(["end", "reset", "cancel"]), st.sampled_from([1, 3]), st.just(0))


def steer(client: H2Connection, server: ServerH2, verb: str, number: int, size: int) -> None:
    """The same event on either copy, whether or not the protocol allows it there."""
    try:
        if verb == "grant":
            client.increment_flow_control_window(size, number or None)
        elif verb == "resize":
            client.update_settings({4: size})
        elif verb == "end":
            server.end_stream(number)
        elif verb == "reset":
            server.reset_stream(number)
        else:
            client.reset_stream(number)
        server.receive_data(client.data_to_send())
        client.receive_data(server.data_to_send())
    except (H2Error, KeyError):
        client.data_to_send()
        server.data_to_send()


@given(st.integers(0, 100_000), st.lists(send | grant | resize | finish, max_size=25))
def test_same_bytes_and_same_windows(window: int, steps: list[tuple[str, int, int]]) -> None:
    library, hand = pair(window), pair(window)
    for verb, number, size in steps:
        if verb == "send":
            payload = bytes(size)
            assert by_hand(hand[1], number, payload) == by_library(library[1], number, payload)
        else:
            steer(*library, verb, number, size)
            steer(*hand, verb, number, size)
        assert state(hand[1]) == state(library[1])


def test_frames_of_the_library_go_first() -> None:
    _, server = pair(65535)
    server.ping(bytes(8))
    windows = HotWindows(server)
    assert windows.data(server.streams[1], b"x") is None
    server.data_to_send()
    assert windows.data(server.streams[1], b"x") is not None


def test_room_is_what_one_frame_may_carry() -> None:
    client, server = pair(100_000)
    windows = HotWindows(server)
    assert windows.room(server.streams[1]) == 16384
    while windows.room(server.streams[1]):
        assert windows.data(server.streams[1], bytes(windows.room(server.streams[1])))
    assert windows.sent == 65535
    client.increment_flow_control_window(10)
    server.receive_data(client.data_to_send())
    assert windows.room(server.streams[1]) == 10
    server.end_stream(1)
    assert windows.room(server.streams[1]) == 0
