"""The machine's floor: CPU of one small message to one of N sockets, read by another process.

    bare   encrypt and send(2), nothing else
    wire   our records, and the event loop's transport
    frame  the same with the DATA header of HTTP/2 before it

A server cannot tell N clients of a change for less than N times this. Of each, the cheapest of many rounds in
a row, in which all is still in the processor's caches, and the mean of rounds with rests between them, as a
server has them between two changes.
"""

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import uvloop
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from headscale_saas.wire.records import Sealer

MESSAGE = os.urandom(113)  # 132 bytes as a record
ROUNDS, PAUSE_SECONDS = 30, 0.01
RESTED_ROUNDS, REST_SECONDS = 12, 0.5


def measure(sockets: int, server_core: int, load_core: int) -> dict[str, float]:
    """Microseconds of CPU per message."""
    command = [sys.executable, "-m", "bench.floor", str(sockets), str(server_core), str(load_core)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _drain(listener: socket.socket, count: int, core: int) -> None:
    """The readers' process; ends when the writer has closed all."""
    _pin(core)
    poll = select.epoll()
    readers = {}
    for _ in range(count):
        reader, _ = listener.accept()
        readers[reader.fileno()] = reader
        poll.register(reader, select.EPOLLIN)
    while readers:
        for fd, _ in poll.poll():
            if not readers[fd].recv(1 << 16):
                readers.pop(fd).close()


async def _costs(kind: str, write_all: Callable[[], None], count: int) -> dict[str, float]:
    """Of the cheapest round in a row, and the mean of rested ones; in microseconds a message."""
    rows = [await _round(write_all, PAUSE_SECONDS) for _ in range(ROUNDS)]
    rested = [await _round(write_all, REST_SECONDS) for _ in range(RESTED_ROUNDS)]
    return {
        kind: min(rows) / count * 1e6,
        f"{kind}_rested": sum(rested) / len(rested) / count * 1e6,
    }


async def _round(write_all: Callable[[], None], pause: float) -> float:
    before = time.process_time()
    write_all()
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # uvloop writes at the end of its turn
    spent = time.process_time() - before
    await asyncio.sleep(pause)
    return spent


def _bare(sockets: list[socket.socket]) -> Callable[[], None]:
    pairs = [(writer, ChaCha20Poly1305(os.urandom(32))) for writer in sockets]
    nonce = bytes(12)

    def write_all() -> None:
        for writer, cipher in pairs:
            writer.send(b"\x04\x00\x81" + cipher.encrypt(nonce, MESSAGE, None))

    return write_all


async def _wire(sockets: list[socket.socket], header: bytes) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    pairs = []
    for writer in sockets:
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, writer)
        pairs.append((transport.write, Sealer(os.urandom(32)).seal))

    def write_all() -> None:
        for write, seal in pairs:
            write(seal(header + MESSAGE))

    return write_all


def _sockets(count: int, core: int) -> tuple[list[socket.socket], int]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=count)
    child = os.fork()
    if not child:
        _drain(listener, count, core)
        os._exit(0)
    writers = [socket.create_connection(listener.getsockname()) for _ in range(count)]
    for writer in writers:
        writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.close()
    return writers, child


def _pin(core: int) -> None:
    if core in os.sched_getaffinity(0) or core < (os.cpu_count() or 1):
        os.sched_setaffinity(0, {core})


def main(count: int, server_core: int, load_core: int) -> dict[str, float]:
    _pin(server_core)
    writers, child = _sockets(count, load_core)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(_costs("bare", _bare(writers), count))
    for kind, header in (("wire", b""), ("frame", bytes(9))):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            write_all = runner.run(_wire([writer.dup() for writer in writers], header))
            result |= runner.run(_costs(kind, write_all, count))
    for writer in writers:
        writer.close()
    os.waitpid(child, 0)
    return result


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:4]))))
