"""What one small message to one map stream costs, and what an idle connection weighs.

    python bench/transport_write.py [connections] [rounds]

Real edge, socket pairs, clients that are only sockets: the figures are the server's alone. CPU includes the
write system call.
"""

import asyncio
import gc
import os
import resource
import socket
import sys
import time
from base64 import b64encode
from typing import Any

import uvloop
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from headscale_saas.tailcfg.keys import PrivateKey
from headscale_saas.transport.fair import FairQueue
from headscale_saas.transport.server import Edge
from headscale_saas.transport.streams import Request, Stream
from headscale_saas.wire.noise import Initiator, ServerKeys
from headscale_saas.wire.records import Sealer

MESSAGE = os.urandom(150)


async def no_app(scope: Any, receive: Any, send: Any) -> None:
    """Nothing ordinary is asked."""


def first_frames() -> bytes:
    """What Go's client sends first, and a map request."""
    h2 = H2Connection(H2Configuration(client_side=True))
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 4 << 20, SettingCodes.ENABLE_PUSH: 0}
    h2.local_settings = Settings(client=True, initial_values=settings)
    h2.initiate_connection()
    h2.increment_flow_control_window(1 << 30)
    fields = [(":method", "POST"), (":scheme", "https"), (":path", "/machine/map"), (":authority", "x")]
    h2.send_headers(1, fields)
    h2.send_data(1, b"{}", end_stream=True)
    return h2.data_to_send()


async def join(edge: Edge, keys: ServerKeys, frames: bytes) -> socket.socket:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    noise = Initiator(PrivateKey(os.urandom(32)), keys.serving, PrivateKey(os.urandom(32)), 130)
    request = (
        b"POST /ts2021 HTTP/1.1\r\nHost: x\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n"
        b"X-Tailscale-Handshake: %s\r\n\r\n" % b64encode(noise.initiation)
    )
    await edge.adopt(theirs, request)
    loop, answer = asyncio.get_running_loop(), bytearray()
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < 51:
        answer += await loop.sock_recv(ours, 4096)
    channel = noise.take(bytearray(answer.partition(b"\r\n\r\n")[2]))
    assert channel is not None
    await loop.sock_sendall(ours, Sealer(channel.client_to_server).seal(frames))
    return ours


def drain(sockets: list[socket.socket]) -> None:
    for client in sockets:
        client.recv(1 << 16)


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


async def main(connections: int, rounds: int) -> None:
    streams: list[Stream] = []

    async def handler(request: Request) -> None:
        request.stream.start(200, {})
        streams.append(request.stream)

    loop, keys, frames = asyncio.get_running_loop(), ServerKeys(PrivateKey(os.urandom(32))), first_frames()
    edge = Edge(no_app, handler, keys, work=FairQueue(loop))
    sockets = [await join(edge, keys, frames) for _ in range(20)]
    gc.collect()
    before, started = resident(), time.process_time()
    sockets += [await join(edge, keys, frames) for _ in range(connections)]
    while len(streams) < len(sockets):  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0.01)
    joined = time.process_time() - started
    gc.collect()
    print(f"idle connection: {(resident() - before) / connections / 1024:.1f} KiB")
    print(f"join, both sides of the handshake: {joined / connections * 1e3:.2f} ms CPU")
    best = 1.0
    for _ in range(rounds):
        drain(sockets)
        started = time.process_time()
        for stream in streams:
            assert stream.write(MESSAGE)
        await asyncio.sleep(0.002)  # the loop writes to the sockets at the end of its turn
        best = min(best, time.process_time() - started)
    print(f"one message to one stream: {best / len(streams) * 1e6:.1f} us CPU (best of {rounds} rounds)")
    await edge.stop()


if __name__ == "__main__":
    count, times = (int(argument) for argument in (sys.argv[1:] + ["1000", "20"][len(sys.argv) - 1 :]))
    uvloop.run(main(count, times))
