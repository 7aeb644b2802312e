"""A worker process: reads its orders from stdin, serves, and ends in order.

Started by the supervisor as `python -m headscale_saas.worker`. What it is made of is in `serve`.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import traceback

import msgspec
import uvloop

# prctl(PR_SET_PDEATHSIG): a worker must not outlive its supervisor.
PR_SET_PDEATHSIG = 1


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells a worker. The descriptors and the environment are inherited."""

    index: int
    dsn: str
    listen_fd: int
    channel_fd: int
    config_file: str | None
    drain_seconds: float


def main() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    listener = socket.socket(fileno=order.listen_fd)
    channel = socket.socket(fileno=order.channel_fd)
    from headscale_saas import serve  # noqa: PLC0415  after the death signal is set: the import takes a second

    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        status = runner.run(serve.serve(order, listener, channel))
    except BaseException:  # whatever it was, the supervisor starts another one
        traceback.print_exc()
        status = 1
    # Closing a uvloop that has just closed a thousand sockets may hang, and there is nothing left to close.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
