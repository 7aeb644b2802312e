"""A worker process: reads its orders from stdin, joins the service, serves, and ends in order.

Started by the supervisor as `python -m headscale_saas.worker`. What it is made of is in `serve`.
"""

import asyncio
import ctypes
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from math import inf
from pathlib import Path

import msgspec
import uvloop

from headscale_saas import noise_keys
from headscale_saas.config import Config, load
from headscale_saas.errors import Error
from headscale_saas.observe import configure, get_logger
from headscale_saas.serve import Worker
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import ClusterId

# prctl(PR_SET_PDEATHSIG): a worker must not outlive its supervisor.
PR_SET_PDEATHSIG = 1
YOUNG_OBJECTS = 700
MIDDLE_COLLECTION_AFTER, FULL_COLLECTION_AFTER = 5, 4
"""So many collections of the generation below. A full one then looks at 14,000 objects that are still there,
which takes 20 to 40 ms in a busy process, and nothing else runs meanwhile."""

log = get_logger(__name__)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells a worker. The descriptors and the environment are inherited."""

    index: int
    dsn: str
    listen_fd: int
    channel_fd: int
    config_file: str | None
    drain_seconds: float


# A thread that compiles a policy gives the interpreter back after this; the loop asks for it many times over
# in a turn (each system call), so the usual 5 ms would be felt by everybody.
SWITCH_SECONDS = 0.0005


def main() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor's business
    sys.setswitchinterval(SWITCH_SECONDS)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    listener = socket.socket(fileno=order.listen_fd)
    channel = socket.socket(fileno=order.channel_fd)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        status = runner.run(_serve(order, listener, channel))
    except Error as problem:  # as a database that is away
        log.error("worker_ended", code=problem.code, reason=problem.message)
        status = 1
    except BaseException:  # whatever it was, the supervisor starts another one
        traceback.print_exc()
        status = 1
    # Closing a uvloop that has just closed a thousand sockets may hang, and there is nothing left to close.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def _serve(order: Order, listener: socket.socket, channel: socket.socket) -> int:
    """Serves until SIGTERM; returns the exit status. Anything that cannot go on ends the process."""
    config = load(Path(order.config_file) if order.config_file else None).config
    async with _joined(config, order.dsn) as database:
        configure(
            config.log.level,
            config.log.format,
            cluster_id=config.cluster_id,
            process=str(database.process),
        )
        keys = await noise_keys.found(database, config.noise.private_key_path, config.secrets.key_path)
        worker = Worker(config, order.dsn, database, keys)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, worker.stop)
        loop.add_signal_handler(signal.SIGINT, worker.stop)
        _spare_collections()
        return await worker.run([listener], channel, order.drain_seconds)


def _spare_collections() -> None:
    """Full ones look only at what came since the last: all that a thousand clients or a large policy need
    would take them 100 ms. So they are frequent and small; together they look at no more.

    Little waits for them: lost connections are no circles (`transport` breaks what they have), and the metric
    `python_gc_objects_collected_total` stays below a thousand for thousands of clients.
    """
    gc.collect()
    gc.freeze()
    gc.callbacks.append(_pass_over)
    gc.set_threshold(YOUNG_OBJECTS, MIDDLE_COLLECTION_AFTER, FULL_COLLECTION_AFTER)


def _pass_over(phase: str, info: Mapping[str, int]) -> None:
    """What is there after a full collection, later ones do not look at; it goes when nothing needs it."""
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()


@asynccontextmanager
async def _joined(config: Config, dsn: str) -> AsyncIterator[Database]:
    """The database, opened as a registered process that lives until the end of the context."""
    pooler = config.database.pooler
    async with AsyncExitStack() as stack:
        tool = await Database.open(dsn, pooler=pooler, pool_size=1)
        stack.push_async_callback(tool.close)
        async with tool.directory() as tx:
            number = await directory.register_process(tx, ClusterId(config.cluster_id), _name())
        database = await Database.open(
            dsn,
            process=number,
            pooler=pooler,
            pool_size=config.database.postgres.max_open_conns,
            idle_seconds=config.database.postgres.conn_max_idle_time_secs or inf,
        )
        stack.push_async_callback(database.close)
        yield database
        with suppress(Error):  # without a database the others will notice by the heartbeat
            async with tool.directory() as tx:
                await directory.sign_off(tx, number)


def _name() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"


if __name__ == "__main__":
    main()
