"""Honest clients: the upgrade, requests inside, and map streams."""

import asyncio
import json
import socket

import pytest
from noise_client import (
    MACHINE,
    SERVER,
    VERSION,
    Client,
    Door,
    connected,
    dial,
    door,
    echo,
    hang_up,
    initiation,
    upgrade_request,
)
from tests.waiting import until

from headscale_saas.tailcfg.keys import MachineKey, PrivateKey
from headscale_saas.transport.limits import Limits
from headscale_saas.transport.streams import Request, Stream
from headscale_saas.wire.noise import ServerKeys
from headscale_saas.wire.records import Opener, Sealer


class Poll:
    """A handler that keeps the stream, as a map poll does, and remembers what it was told."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.requests: list[Request] = []
        self.closed: list[Stream] = []
        self.writable: list[Stream] = []

    async def __call__(self, request: Request) -> None:
        stream = request.stream
        stream.on_close = lambda: self.closed.append(stream)
        stream.on_writable = lambda: self.writable.append(stream)
        self.streams.append(stream)
        self.requests.append(request)
        stream.start(200, {})

    async def first(self) -> Stream:
        await until(lambda: self.streams)
        return self.streams[0]


async def test_a_request_is_answered() -> None:
    async with connected() as (_, client):
        answer = client.request("POST", "/machine/register?a=1&b=%20", b"{}", ts_lb="nodekey:0")
        await until(lambda: answer.ended)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        query, headers = {"a": "1", "b": " "}, {"ts-lb": "nodekey:0"}
        assert json.loads(answer.body) == ["POST", "/machine/register", query, headers, 2]
        assert client.early.challenge is not None


async def test_a_get_may_have_a_body() -> None:
    async with connected() as (_, client):
        answer = client.request("GET", "/machine/tka/bootstrap", b"{}" * 100)
        await until(lambda: answer.ended)
        assert json.loads(answer.body)[-1] == 200


async def test_the_handler_knows_who_asks() -> None:
    poll = Poll()
    async with connected(poll) as (_, client):
        client.request("POST", "/machine/map", b"{}")
        await poll.first()
        who = poll.requests[0].connection
        assert who.machine == ServerKeys(MACHINE).serving
        assert isinstance(who.machine, MachineKey)
        assert (who.protocol_version, who.peer) == (VERSION, "127.0.0.1")


async def test_everything_the_client_waits_for_comes_in_one_write() -> None:
    async with door() as opened:
        noise, handshake = initiation()
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(upgrade_request(handshake))
        head, _, rest = (await reader.read(65536)).partition(b"\r\n\r\n")
        assert head.splitlines()[0] == b"HTTP/1.1 101 Switching Protocols"
        assert b"Upgrade: tailscale-control-protocol" in head
        buffer = bytearray(rest)
        channel = noise.take(buffer)
        assert channel is not None
        plain = b"".join(Opener(channel.server_to_client).feed(bytes(buffer)))
        length = int.from_bytes(plain[5:9], "big")
        assert plain[9 + length + 3] == 4  # the type of SETTINGS
        await hang_up(writer)


async def test_bytes_after_the_upgrade_request_belong_to_the_channel() -> None:
    """A client that knew the response in advance could do this; its first records must not be lost."""
    async with door() as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        _, handshake = initiation()
        writer.write(upgrade_request(handshake) + b"\x04\x00\x10" + bytes(16))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        await reader.read()  # the forged record closes the connection
        await hang_up(writer)


async def test_an_upgrade_may_follow_ordinary_requests() -> None:
    async with door() as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(b"GET /key?v=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"}")
        noise, handshake = initiation()
        writer.write(upgrade_request(handshake))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert noise.take(bytearray(await reader.readexactly(51))) is not None
        await hang_up(writer)


async def test_a_map_stream_outlives_its_handler() -> None:
    poll = Poll()
    async with connected(poll) as (_, client):
        answer = client.request("POST", "/machine/map", b"{}")
        stream = await poll.first()
        await until(lambda: stream.task is None)
        assert stream.write(b"one")
        assert stream.write(b"two")
        await until(lambda: answer.body == b"onetwo")
        stream.end()
        assert not stream.write(b"late")
        await until(lambda: answer.ended)
        assert poll.closed == [stream]
        assert stream.closed


@pytest.mark.parametrize("window", [65535, 4 << 20])
async def test_a_full_netmap_is_taken_whole_and_drained(window: int) -> None:
    poll, netmap = Poll(), bytes(range(256)) * (5 << 12)
    async with connected(poll, window=window) as (_, client):
        answer = client.request("POST", "/machine/map", b"{}")
        stream = await poll.first()
        assert stream.write(netmap)
        assert not stream.writable
        assert not stream.write(b"x" * 70_000)
        assert stream.write(b"small")  # within the bound, behind the netmap
        await until(lambda: poll.writable)
        assert stream.writable
        await until(lambda: len(answer.body) == len(netmap) + 5)
        assert answer.body == netmap + b"small"


async def test_end_waits_for_the_queue() -> None:
    poll = Poll()
    async with connected(poll, window=5000) as (_, client):
        answer = client.request("POST", "/machine/map", b"{}")
        stream = await poll.first()
        assert stream.write(bytes(100_000))
        stream.end()
        await until(lambda: answer.ended)
        assert len(answer.body) == 100_000


async def test_respond_takes_a_body_larger_than_the_window() -> None:
    async def large(request: Request) -> None:
        request.stream.respond(200, bytes(3_000_000))

    async with connected(large, window=65535) as (_, client):
        answer = client.request("GET", "/")
        await until(lambda: answer.ended)
        assert len(answer.body) == 3_000_000
        assert answer.headers["content-length"] == "3000000"


async def test_a_handler_that_fails_or_forgets_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: Request) -> None:
        if request.path == "/raise":
            raise RuntimeError("broken")

    async with connected(broken) as (_, client):
        answers = [client.request("GET", "/raise"), client.request("GET", "/forget")]
        await until(lambda: all(answer.ended for answer in answers))
        assert [answer.status for answer in answers] == [500, 500]


class Slow:
    """A handler that waits for ever, and notes how it ended."""

    def __init__(self) -> None:
        self.running = 0
        self.cancelled = 0

    async def __call__(self, request: Request) -> None:
        self.running += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def test_a_cancelled_request_cancels_its_handler() -> None:
    slow = Slow()
    async with connected(slow) as (_, client):
        answer = client.request("POST", "/machine/map", b"{}")
        await until(lambda: slow.running)
        client.cancel(answer)
        await until(lambda: slow.cancelled)


async def test_a_request_that_is_cancelled_at_once_is_never_handled() -> None:
    slow = Slow()
    async with connected(slow) as (_, client):
        answer = client.request("POST", "/machine/map", b"{}", end=False)
        client.cancel(answer)
        ping = client.request("GET", "/later")
        await until(lambda: slow.running)
        assert slow.running == 1
        assert not ping.ended


async def test_a_lost_connection_cancels_handlers_and_closes_streams() -> None:
    slow, poll = Slow(), Poll()

    async def handler(request: Request) -> None:
        await (slow if request.path == "/slow" else poll)(request)

    async with connected(handler) as (opened, client):
        client.request("GET", "/slow")
        client.request("POST", "/machine/map", b"{}")
        await until(lambda: slow.running and poll.streams)
        client.writer.transport.abort()
        await until(lambda: slow.cancelled and poll.closed)
        assert not poll.streams[0].write(b"x")
        await until(lambda: opened.edge.connections == 0)


async def test_a_callback_that_fails_harms_nobody() -> None:
    poll = Poll()

    def fail() -> None:
        raise RuntimeError("broken callback")

    async with connected(poll) as (_, client):
        first, second = client.request("GET", "/1"), client.request("GET", "/2")
        await until(lambda: len(poll.streams) == 2)
        poll.streams[0].on_close = fail
        client.cancel(first)
        await until(lambda: poll.streams[0].closed)
        assert poll.streams[1].write(b"fine")
        await until(lambda: second.body == b"fine")


async def test_a_rotated_key_serves_old_and_new_clients() -> None:
    fresh = PrivateKey(bytes(range(200, 232)))
    async with door() as opened:
        opened.edge.use_keys(ServerKeys(fresh, accepted=[SERVER]))
        client = await dial(opened.port)
        answer = client.request("GET", "/")
        await until(lambda: answer.ended)
        await client.close()


async def test_an_accepted_socket_can_be_handed_over_with_its_first_bytes() -> None:
    async with door() as opened:
        ours, theirs = socket.socketpair()
        noise, handshake = initiation()
        await opened.edge.adopt(theirs, upgrade_request(handshake))
        reader, writer = await asyncio.open_connection(sock=ours)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        channel = noise.take(bytearray(await reader.readexactly(51)))
        assert channel is not None
        client = Client(reader, writer, window=65535)
        client.begin(Sealer(channel.client_to_server), Opener(channel.server_to_client), b"")
        answer = client.request("GET", "/adopted")
        await until(lambda: answer.ended)
        await client.close()


async def test_sockets_notice_dead_peers() -> None:
    """What is set on the listener is inherited by what it accepts."""
    async with connected() as (opened, _):
        connection = next(iter(opened.edge._host.connections))
        sock = connection._carrier.get_extra_info("socket")  # type: ignore[union-attr]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_drain_ends_streams_and_finishes_answers() -> None:
    poll, release = Poll(), asyncio.Event()

    async def handler(request: Request) -> None:
        if request.path == "/slow":
            await release.wait()
            await echo(request)
        else:
            await poll(request)

    async with door(handler, jitter=lambda: 0.0) as opened:
        client = await dial(opened.port)
        stream, slow = client.request("POST", "/machine/map"), client.request("GET", "/slow")
        await poll.first()
        draining = asyncio.create_task(opened.edge.drain(5.0))
        await until(lambda: (client.goaway, stream.ended) == (0, True))
        late = client.request("GET", "/late")
        await until(lambda: late.reset is not None)
        release.set()
        await until(lambda: slow.ended and client.closed)
        await draining
        assert (slow.status, late.reset) == (200, 7)
        assert poll.closed == poll.streams
        with pytest.raises(ConnectionRefusedError):
            await dial(opened.port)
        await client.close()


async def test_drain_closes_what_does_not_go() -> None:
    slow = Slow()
    async with connected(slow, Limits(sweep_seconds=0.05, linger_seconds=0.1)) as (opened, client):
        client.request("GET", "/")
        await until(lambda: slow.running)
        await opened.edge.drain(0.1)
        await until(lambda: client.closed and slow.cancelled)
        assert opened.edge.connections == 0


async def test_stop_closes_what_was_accepted_in_the_same_turn() -> None:
    """Otherwise it would wait for it until the client goes, and serve it meanwhile."""
    async with connected() as (opened, _):
        loop, bell = asyncio.get_running_loop(), loop_pair()
        rung = loop.create_future()
        loop.add_reader(bell[0], lambda: rung.done() or rung.set_result(None))
        stopping = asyncio.create_task(stop_after(rung, opened))
        await asyncio.sleep(0)
        bell[1].send(b"!")  # the loop sees both in one turn, this one first
        late = socket.create_connection(("127.0.0.1", opened.port))
        late.setblocking(False)
        await asyncio.wait_for(stopping, 5)
        assert await asyncio.wait_for(loop.sock_recv(late, 1), 5) == b""
        loop.remove_reader(bell[0])
        for sock in (late, *bell):
            sock.close()


async def stop_after(rung: "asyncio.Future[None]", opened: Door) -> None:
    await rung
    await opened.edge.stop()


def loop_pair() -> tuple[socket.socket, socket.socket]:
    left, right = socket.socketpair()
    left.setblocking(False)
    return left, right
