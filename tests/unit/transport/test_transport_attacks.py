"""T-01 to T-19 of the attack list, as far as they end in this package."""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from noise_client import Client, connected, dial, door, echo, hang_up, initiation, upgrade_request
from test_transport_basics import Poll, Slow
from tests.waiting import until

from headscale_saas.tailcfg.keys import PrivateKey
from headscale_saas.transport.limits import Limits, Rate
from headscale_saas.transport.streams import Request
from headscale_saas.wire.records import Sealer

CALM, PROTOCOL = int(ErrorCodes.ENHANCE_YOUR_CALM), int(ErrorCodes.PROTOCOL_ERROR)
HASTY = Limits(
    header_seconds=0.15,
    handshake_seconds=0.3,
    first_request_seconds=0.15,
    body_seconds=0.15,
    stall_seconds=0.15,
    linger_seconds=0.15,
    sweep_seconds=0.02,
)


async def exchange(port: int, data: bytes) -> bytes:
    """All that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(5):
        answer = await reader.read()
    await hang_up(writer)
    return answer


def headers(number: int, *, end: bool = True) -> Frame:
    fields = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "x")]
    from hpack import Encoder  # noqa: PLC0415 (a fresh table for each block keeps them independent)

    encoder = Encoder()
    encoder.header_table_size = 0
    return HeadersFrame(
        number, encoder.encode(fields), flags=["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    )


def raw(*frames: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in frames)


# T-01


@pytest.mark.parametrize(
    "request_head",
    [
        b"POST /ts2021 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /ts2021 HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        upgrade_request(b"AAAA").replace(b"POST", b"GET"),
        upgrade_request(b""),
        upgrade_request(b"not base64!"),
        upgrade_request(b"A" * 2000),
    ],
)
async def test_t01_what_is_no_upgrade_is_told_so(
    request_head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with door() as opened:
        assert (await exchange(opened.port, request_head)).startswith(b"HTTP/1.1 400 ")
        assert opened.edge.counts.refused_requests == 1
    assert not caplog.records


# T-02, T-03, T-04


@pytest.mark.parametrize(
    "junk", [bytes(101), b"\0\x82\1\0\x60" + bytes(96), b"\0\x82\1\0\x60" + b"\xff" * 96]
)
async def test_t02_a_handshake_of_junk_is_refused(junk: bytes) -> None:
    async with door(Slow()) as opened:
        answer = await exchange(opened.port, upgrade_request(b64encode(junk)))
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 101 "))
        assert opened.edge.counts.failed_handshakes == 1


@pytest.mark.parametrize(
    "spoil", [lambda i: i[:-1], lambda i: i[:2] + b"\2" + i[3:], lambda i: i[:3] + b"\1\0" + i[5:]]
)
async def test_t03_bad_framing_is_answered_inside_the_protocol(spoil: Callable[[bytes], bytes]) -> None:
    noise, _ = initiation()
    async with door() as opened:
        answer = await exchange(opened.port, upgrade_request(b64encode(spoil(noise.initiation))))
        head, _, record = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert record[0] == 3
        assert b"handshake" in record


async def test_t04_a_replayed_initiation_ends_before_a_request() -> None:
    slow = Slow()
    async with door(slow, HASTY) as opened:
        answer = await exchange(opened.port, upgrade_request(initiation()[1]))
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert slow.running == 0


# T-06, T-07


def sealed(client: Client, data: bytes) -> bytes:
    return client.sealer.seal(data)


async def test_t06_the_first_bad_record_closes() -> None:
    for order in ("flipped", "swapped", "repeated", "skipped"):
        poll = Poll()
        async with connected(poll) as (_, client):
            first, second = (client.sealer.seal(raw(headers(number))) for number in (1, 3))
            spoiled = {
                "flipped": first[:-1] + bytes((first[-1] ^ 1,)),
                "swapped": second + first,
                "repeated": first + first + second,
                "skipped": second,
            }[order]
            client.writer.write(spoiled)
            await until(lambda: client.closed)
            assert len(poll.streams) <= (order == "repeated")


@pytest.mark.parametrize("length", [0, 1, 15, 4094, 65535])
async def test_t07_a_length_out_of_bounds_closes_by_its_header(length: int) -> None:
    async with connected() as (_, client):
        client.writer.write(b"\x04" + length.to_bytes(2, "big"))
        await until(lambda: client.closed)


# T-08


@pytest.mark.parametrize("trickle", [b"", b"G", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
async def test_t08_slow_headers_are_closed(trickle: bytes) -> None:
    async with door(limits=HASTY) as opened:
        assert await exchange(opened.port, trickle) == b""


async def test_t08_a_slow_ordinary_body_is_closed() -> None:
    async with door(limits=HASTY) as opened:
        await exchange(opened.port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")


async def test_t08_silence_after_the_handshake_is_closed() -> None:
    async with connected(limits=HASTY) as (_, client):
        await until(lambda: client.closed)


async def test_t08_a_slow_body_inside_is_reset() -> None:
    slow = Slow()
    async with connected(slow, HASTY) as (_, client):
        answer = client.request("POST", "/machine/map", b"{", end=False)
        await until(lambda: answer.reset is not None)
        assert slow.running == 0


@pytest.mark.parametrize(("lane", "soon"), [("acme", "idle_seconds"), (None, "stranger_idle_seconds")])
async def test_t08_a_connection_without_streams_is_let_go(lane: str | None, soon: str) -> None:
    """A stranger's sooner than that of a machine with a node."""
    limits = Limits(sweep_seconds=0.02, **{soon: 0.15})  # type: ignore[arg-type]
    async with connected(limits=limits, lane_of=lambda _: lane) as (_, client):
        answer = client.request("GET", "/")
        await until(lambda: answer.ended)
        await until(lambda: client.closed)
        assert client.goaway == 0


async def test_t08_waiting_handlers_are_not_slow_clients() -> None:
    slow = Slow()
    async with connected(slow, HASTY) as (_, client):
        client.request("GET", "/")
        await until(lambda: slow.running)
        await asyncio.sleep(0.4)
        assert not client.closed
        assert not slow.cancelled


# T-09, T-10, T-16


async def test_t09_a_long_body_is_refused_before_it_is_read() -> None:
    async with connected() as (_, client):
        answer = client.request("POST", "/", b"", end=False, content_length=str(10 << 30))
        await until(lambda: answer.ended)
        assert answer.status == 413


async def test_t09_an_endless_body_is_refused_at_its_limit() -> None:
    slow = Slow()
    async with connected(slow, Limits(body_bytes=50_000)) as (_, client):
        answer = client.request("POST", "/", bytes(50_001), end=False)
        await until(lambda: answer.status == 413)
        assert slow.running == 0
        other = client.request("POST", "/", bytes(10_000))
        await until(lambda: slow.running)
        assert not other.ended


async def test_t09_many_unfinished_bodies_are_too_many() -> None:
    async with connected(Slow(), Limits(bodies_bytes=50_000)) as (_, client):
        for _ in range(3):
            client.request("POST", "/", bytes(20_000), end=False)
        await until(lambda: client.closed)
        assert client.goaway == CALM


async def test_t09_many_connections_share_what_one_origin_may_have_unfinished() -> None:
    slow = Slow()
    async with door(slow, Limits(origin_bodies_bytes=50_000)) as opened:
        first, second = (
            await dial(opened.port),
            await dial(opened.port, machine=PrivateKey(bytes(range(7, 39)))),
        )
        held = [first.request("POST", "/", bytes(20_000), end=False) for _ in range(2)]
        await until(lambda: opened.edge.body_bytes == 40_000)
        refused = second.request("POST", "/", bytes(20_000), end=False)
        await until(lambda: refused.ended)
        assert (refused.status, opened.edge.body_bytes) == (503, 40_000)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n"
        assert (await plain_request(opened.port, head + bytes(20_000))).startswith(b"HTTP/1.1 503 ")
        first.cancel(held[0])
        await until(lambda: opened.edge.body_bytes == 20_000)
        second.request("POST", "/", bytes(20_000))
        await until(lambda: slow.running and opened.edge.body_bytes == 40_000)
        await first.close()
        await until(lambda: opened.edge.body_bytes == 20_000)
        await second.close()
        await until(lambda: opened.edge.body_bytes == 0)


async def test_t09_a_body_is_counted_until_its_handler_has_finished() -> None:
    let_go = asyncio.Event()
    started = []

    async def stubborn(request: Request) -> None:
        """Goes on after it has answered, and does not mind that nobody listens any more."""
        started.append(request)
        if request.path == "/answered":
            request.stream.respond(200)
        with suppress(asyncio.CancelledError):
            await let_go.wait()
        await let_go.wait()

    async with door(stubborn, Limits(origin_bodies_bytes=50_000)) as opened:
        client = await dial(opened.port)
        answer = client.request("POST", "/answered", bytes(20_000))
        given_up = client.request("POST", "/", bytes(20_000))
        await until(lambda: len(started) == 2 and answer.ended)
        client.cancel(given_up)
        refused = client.request("POST", "/", bytes(20_000))
        await until(lambda: refused.ended)
        assert (refused.status, opened.edge.body_bytes) == (503, 40_000)
        await client.close()
        await until(lambda: not opened.edge.connections)
        assert opened.edge.body_bytes == 40_000
        let_go.set()
        await until(lambda: opened.edge.body_bytes == 0)


async def test_t09_a_body_whose_handler_never_began_is_counted_no_longer() -> None:
    slow = Slow()
    async with connected(slow) as (opened, client):
        frames = client.request("POST", "/", bytes(20_000), end=False)
        await until(lambda: opened.edge.body_bytes == 20_000)
        client.h2.end_stream(1)
        client.cancel(frames)  # with the end in one packet
        await until(lambda: opened.edge.body_bytes == 0)
        assert slow.running == slow.cancelled


async def test_t09_unfinished_bodies_of_plain_http_are_counted_until_they_end() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n"
    async with door(limits=Limits(process_bodies_bytes=50_000)) as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        for _ in range(2):
            writer.write(head + bytes(20_000))
            await until(lambda: opened.edge.body_bytes == 20_000)
            writer.write(bytes(10_000))
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
            assert opened.edge.body_bytes == 0
        writer.write(head + bytes(20_000))
        await until(lambda: opened.edge.body_bytes == 20_000)
        await hang_up(writer)
        await until(lambda: opened.edge.body_bytes == 0)


async def test_t09_a_body_of_plain_http_is_counted_until_the_app_has_finished() -> None:
    let_go = asyncio.Event()

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await let_go.wait()

    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n"
    async with door(app=stubborn, limits=Limits(process_bodies_bytes=50_000)) as opened:
        _, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write((head + bytes(20_000)) * 2)  # the second waits for the first to be answered
        await until(lambda: opened.edge.body_bytes == 40_000)
        assert (await plain_request(opened.port, head + bytes(20_000))).startswith(b"HTTP/1.1 503 ")
        await hang_up(writer)
        await until(lambda: opened.edge.body_bytes == 20_000)
        let_go.set()
        await until(lambda: opened.edge.body_bytes == 0)


async def plain_request(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    await hang_up(writer)
    return answer


async def test_t10_a_body_shorter_than_promised_is_never_handled() -> None:
    slow = Slow()
    async with connected(slow) as (_, client):
        client.request("POST", "/machine/register", b"{", content_length="100")
        await until(lambda: client.closed)
        assert slow.running == 0


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br", "gzip, gzip"])
async def test_t16_compressed_requests_are_refused(coding: str) -> None:
    slow = Slow()
    async with connected(slow) as (_, client):
        answer = client.request("POST", "/machine/map", b"xx", content_encoding=coding)
        await until(lambda: answer.ended)
        assert answer.status == 415
        assert slow.running == 0


# T-11 to T-15


async def calmed(client: Client, frames: bytes) -> None:
    client.send(frames)
    await until(lambda: client.closed)
    assert client.goaway == CALM


async def test_t11_rapid_resets_end_the_connection() -> None:
    slow = Slow()
    async with connected(slow) as (_, client):
        frames = raw(*(f for n in range(1, 600, 2) for f in (headers(n), RstStreamFrame(n, 8))))
        await calmed(client, frames)
        await until(lambda: slow.running == slow.cancelled)


async def test_t12_resets_that_we_are_made_to_send_count_too() -> None:
    """Each stream's window is overflown, for which the library resets it."""
    async with connected(Slow()) as (_, client):
        for _ in range(3):
            answers = [client.request("POST", "/", end=False) for _ in range(90)]
            numbers = list(client.answers)[-90:]
            client.send(raw(*(WindowUpdateFrame(number, 2**31 - 1) for number in numbers)))
            await until(lambda: client.closed or all(a.reset is not None for a in answers))  # noqa: B023
        assert client.goaway == CALM


async def test_t13_endless_continuation_is_cut() -> None:
    async with connected() as (_, client):
        start = HeadersFrame(1, b"\0\1a\1b", flags=["END_STREAM"])
        parts = [ContinuationFrame(1, b"") for _ in range(70)]
        client.send(raw(start, *parts))
        await until(lambda: client.closed)
        assert client.goaway == PROTOCOL


async def test_t13_a_header_block_has_a_total_size() -> None:
    async with connected() as (_, client):
        start = HeadersFrame(1, bytes(10_000), flags=["END_STREAM"])
        await calmed(client, raw(start, ContinuationFrame(1, bytes(10_000))))


async def test_t14_a_header_bomb_is_not_unpacked() -> None:
    """One large entry in the table, then a reference of one byte to it, thousands of times."""
    entry = b"\x40\x01a\x7f" + bytes((0x80 | (3000 - 127) % 128, (3000 - 127) // 128)) + b"b" * 3000
    async with connected() as (_, client):
        client.send(raw(HeadersFrame(1, entry + b"\xbe" * 5000, flags=["END_HEADERS", "END_STREAM"])))
        await until(lambda: client.closed)
        assert client.goaway == CALM


@pytest.mark.parametrize(
    ("frame", "count"),
    [
        (SettingsFrame(0, settings={}), 25),
        (PingFrame(0, b"12345678"), 65),
        (WindowUpdateFrame(0, 1), 1100),
        (PriorityFrame(7, depends_on=1), 1100),
        (DataFrame(1, b""), 1100),
        (DataFrame(1, b"x"), 1100),
    ],
)
async def test_t15_floods_of_cheap_frames_end_the_connection(frame: Frame, count: int) -> None:
    async with connected(Slow()) as (_, client):
        client.request("POST", "/", b"", end=False)
        await calmed(client, frame.serialize() * count)


async def test_t15_window_updates_are_earned_by_reading() -> None:
    """A client that takes a large netmap in small steps is honest."""
    poll = Poll()
    async with connected(poll, Limits(trifles=Rate(5, 60.0)), window=3000) as (_, client):
        answer = client.request("POST", "/machine/map")
        stream = await poll.first()
        assert stream.write(bytes(500_000))
        await until(lambda: len(answer.body) == 500_000)
        assert not client.closed


# T-18, T-19


async def test_t18_more_streams_than_advertised_end_the_connection() -> None:
    slow = Slow()
    async with connected(slow) as (_, client):
        client.send(raw(*(headers(number) for number in range(1, 2001, 2))))
        await until(lambda: client.closed)
        await until(lambda: slow.running == slow.cancelled)
        assert slow.running <= 100


async def test_t18_a_stream_without_window_is_given_up() -> None:
    poll = Poll()
    async with connected(poll, HASTY, window=0) as (_, client):
        answer = client.request("POST", "/machine/map")
        stream = await poll.first()
        assert stream.write(b"never")
        await until(lambda: answer.reset is not None)
        assert poll.closed == [stream]


async def test_t19_a_client_that_does_not_read_costs_one_queue() -> None:
    poll = Poll()
    async with door(poll, Limits(stall_seconds=0.5, sweep_seconds=0.05, linger_seconds=0.1)) as opened:
        deaf, fine = await dial(opened.port, window=2**31 - 1), await dial(opened.port)
        deaf.request("POST", "/machine/map")
        stream = await poll.first()
        deaf.stop_reading()
        heard = fine.request("POST", "/machine/map")
        await until(lambda: len(poll.streams) == 2)
        message, taken = bytes(60_000), 0
        while stream.write(message):
            taken += 1
            await asyncio.sleep(0)
        assert stream.queued <= 2 * len(message) + (64 << 10)
        assert not stream.write(message)
        assert poll.streams[1].write(b"others")
        await until(lambda: heard.body == b"others")
        await until(lambda: poll.closed == [stream])
        await until(lambda: opened.edge.connections == 1)
        deaf.writer.transport.abort()
        await fine.close()


async def test_a_deaf_client_does_not_get_answers_to_ever_more_requests() -> None:
    """Answers pile up only as far as what was read at once; then requests wait in the client's socket."""
    async with connected(echo) as (opened, client):
        client.stop_reading()
        block = b"".join(raw(headers(number)) for number in range(1, 200_001, 2))
        client.writer.write(Sealer.seal(client.sealer, block))
        connection = next(iter(opened.edge._host.connections))
        await until(lambda: connection.congested or connection.closing, within=20)


# T-24


@pytest.mark.parametrize("inside", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 24, b"PRI * HTTP/1"])
async def test_t24_something_else_inside_is_closed_at_once(inside: bytes) -> None:
    async with door() as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        noise, handshake = initiation()
        writer.write(upgrade_request(handshake))
        await reader.readuntil(b"\r\n\r\n")
        channel = noise.take(bytearray(await reader.readexactly(51)))
        assert channel is not None
        writer.write(Sealer(channel.client_to_server).seal(inside))
        async with asyncio.timeout(5):
            await reader.read()
        await hang_up(writer)


async def test_a_frame_of_sixteen_megabytes_is_refused_by_its_header() -> None:
    async with connected() as (_, client):
        client.send(b"\xff\xff\xff\0\0\0\0\0\1")
        await until(lambda: client.closed)
        assert client.goaway is not None
