"""The client half of HTTP/2 is as strict as Go's: these servers would lose an official client too."""

import h2.config
import h2.connection
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.errors import Error, ProtocolError
from headscale_saas.swarm import frames
from headscale_saas.swarm.http2 import Headers, Http2Client

REQUEST = [(":authority", "x"), (":method", "POST"), (":path", "/"), (":scheme", "https")]
OK = b"\x88"  # ":status 200" of HPACK's static table
SETTINGS = frames.frame(frames.SETTINGS, 0, 0, b"")
HEADERS = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, OK)


class Heard:
    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.end = ""

    def on_headers(self, status: int, headers: Headers) -> None:
        self.status = status

    def on_data(self, data: bytes) -> None:
        self.body += data

    def on_end(self) -> None:
        self.end = "end"

    def on_lost(self, error: Error) -> None:
        self.end = error.message


def asked(body: bytes = b"") -> tuple[Http2Client, Heard]:
    client, heard = Http2Client(), Heard()
    client.request(REQUEST, body, heard)
    return client, heard


@given(st.lists(st.integers(1, 400)), st.booleans())
def test_chunking_does_not_matter(sizes: list[int], padded: bool) -> None:
    client, heard = asked()
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(bytes(client.outgoing))
    server.send_headers(1, [(":status", "200"), ("content-type", "a" * 100)])
    for size in sizes:
        server.send_data(1, b"x" * size, pad_length=7 if padded else None)
    server.send_data(1, b"", end_stream=True)
    data, start = server.data_to_send(), 0
    for size in [*sizes, len(data)]:
        client.feed(data[start : start + size])
        start += size
    assert (heard.status, len(heard.body), heard.end) == (200, sum(sizes), "end")


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(HEADERS, id="no SETTINGS first"),
        pytest.param(SETTINGS + frames.frame(frames.DATA, 0, 1, b"x"), id="DATA before headers"),
        pytest.param(SETTINGS + frames.frame(frames.HEADERS, 4, 3, OK), id="a stream nobody opened"),
        pytest.param(SETTINGS + frames.frame(frames.HEADERS, 4, 2, OK), id="a stream of the server"),
        pytest.param(SETTINGS + frames.frame(frames.HEADERS, 4, 1, b"\xff" * 9), id="broken HPACK"),
        pytest.param(SETTINGS + frames.frame(frames.HEADERS, 4, 1, b"\x84"), id="no status"),
        pytest.param(SETTINGS + frames.frame(frames.HEADERS, 0, 1, OK) + SETTINGS, id="interrupted headers"),
        pytest.param(SETTINGS + frames.frame(frames.CONTINUATION, 4, 1, OK), id="CONTINUATION of nothing"),
        pytest.param(SETTINGS + frames.frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + OK), id="push"),
        pytest.param(SETTINGS + frames.frame(frames.PING, 0, 0, b"short"), id="short PING"),
        pytest.param(SETTINGS + frames.frame(frames.SETTINGS, 0, 0, b"short"), id="short SETTINGS"),
        pytest.param(SETTINGS + frames.frame(frames.DATA, 0, 1, b"x" * 16385), id="too long"),
        pytest.param(
            SETTINGS + HEADERS + frames.frame(frames.DATA, 8, 1, b"\x09x"), id="padding past the end"
        ),
        pytest.param(SETTINGS + HEADERS + HEADERS, id="headers twice"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_refused(hostile: bytes) -> None:
    client, _ = asked()
    with pytest.raises(ProtocolError):
        client.feed(hostile)


def test_a_server_that_sends_past_the_window_is_refused() -> None:
    client, _ = asked()
    client.feed(SETTINGS + HEADERS)
    full = frames.frame(frames.DATA, 0, 1, b"x" * frames.MAX_FRAME)
    with pytest.raises(ProtocolError, match="window"):
        client.feed(full * (frames.STREAM_WINDOW // frames.MAX_FRAME + 1))


def test_credit_is_given_back_as_it_is_used() -> None:
    client, _ = asked()
    client.feed(SETTINGS + HEADERS)
    client.outgoing.clear()
    client.feed(frames.frame(frames.DATA, 0, 1, b"x" * 4095))
    assert not client.outgoing
    client.feed(frames.frame(frames.DATA, 0, 1, b"x"))
    assert client.outgoing == frames.window_update(1, 4096) + frames.window_update(0, 4096)


def test_a_body_waits_for_the_servers_window() -> None:
    client, _ = asked(b"x" * 100_000)
    sent = len(client.outgoing)
    assert frames.DEFAULT_WINDOW < sent < frames.DEFAULT_WINDOW + 500
    client.feed(SETTINGS + frames.window_update(0, 100_000))
    assert len(client.outgoing) - sent < 100
    client.feed(frames.window_update(1, 100_000))
    assert len(client.outgoing) - sent > 100_000 - frames.DEFAULT_WINDOW


def test_goaway_refuses_the_later_streams_and_lets_the_earlier_end() -> None:
    client, first = asked()
    second = Heard()
    client.request(REQUEST, b"", second)
    client.feed(SETTINGS + frames.frame(frames.GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0"))
    client.feed(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, OK))
    assert client.draining
    assert first.end == "end"
    assert "GOAWAY" in second.end


def test_a_reset_stream_is_lost_and_what_follows_on_it_is_ignored() -> None:
    client, heard = asked()
    client.feed(SETTINGS + frames.frame(frames.RST_STREAM, 0, 1, b"\0\0\0\2") + HEADERS)
    assert "2" in heard.end
    assert heard.status == 0


def test_pings_and_settings_are_answered() -> None:
    client, _ = asked()
    client.outgoing.clear()
    client.feed(SETTINGS + frames.frame(frames.PING, 0, 0, b"12345678"))
    acks = frames.frame(frames.SETTINGS, frames.ACK, 0, b"") + frames.frame(
        frames.PING, frames.ACK, 0, b"12345678"
    )
    assert client.outgoing == acks
