"""`serve`: owns the database of the house, the listening sockets, /metrics and the workers.

The supervisor does no work of its own, so there is nothing in it to go wrong: a worker that ends is
started again, SIGTERM and SIGINT end all in order, SIGHUP reads the policy's file again. Each worker has a
listening socket of its own on the same address (SO_REUSEPORT) that outlives it, so a restart refuses nobody.
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import msgspec

from headscale_saas import founding, policy_file
from headscale_saas.config import Config, Loaded, host_port
from headscale_saas.config.files import demand_files
from headscale_saas.errors import Unavailable
from headscale_saas.metrics import WorkerMetrics, start_endpoint
from headscale_saas.observe import configure, get_logger
from headscale_saas.postgres import EmbeddedPostgres
from headscale_saas.worker import Order

WATCH_SECONDS = 0.1
QUIET_SECONDS = 5.0
"""So often the workers are looked at without cause; when one ends, the system says so."""
FIRST_RESTART_SECONDS = 0.2
LAST_RESTART_SECONDS = 5.0
STEADY_SECONDS = 30.0
DRAIN_SECONDS = 3.0
KILL_AFTER_SECONDS = 15.0
RELOAD_END_SECONDS = 5.0
LISTEN_BACKLOG = 4096
MOST_FILES = 1 << 20
"""Of a worker, where the system lets us choose: each client takes one."""

log = get_logger(__name__)


def run(loaded: Loaded, *, workers: int | None = None, join_line: bool = False) -> None:
    """Serves until SIGTERM or SIGINT. Raises errors.Error for a setup that cannot work.

    `join_line` prints a ready `tailscale up` line as soon as clients are served.
    """
    config = loaded.config
    configure(config.log.level, config.log.format, cluster_id=config.cluster_id, process="supervisor")
    for warning in loaded.warnings:
        log.warning("configuration", message=warning)
    demand_files(loaded)
    _raise_file_limit()
    stop, asked, bell = threading.Event(), threading.Event(), threading.Event()
    events = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: asked, signal.SIGCHLD: bell}
    _set_by_signals(events, bell)
    with ExitStack() as stack:
        dsn = stack.enter_context(_database(config))
        founded = founding.found(config, dsn, stop)
        crew = [
            Worker(index, sock, loaded.file, dsn)
            for index, sock in enumerate(_sockets(config, workers or config.workers, stack))
        ]
        stack.enter_context(start_endpoint(config.metrics_listen_addr, [w.metrics for w in crew]))
        stack.enter_context(_working(crew))
        _when_ready(crew, stop, lambda: founding.announce(config, founded, with_join_line=join_line))
        reloads = stack.enter_context(Reloads(asked, lambda: policy_file.reload(config, dsn)))
        _watch(crew, stop, bell, reloads)


def _set_by_signals(events: Mapping[signal.Signals, threading.Event], bell: threading.Event) -> None:
    """Sets the event of each signal that comes, and then the bell.

    On a thread of its own: a handler runs in the midst of the main thread, which may hold the lock of the
    very event just then, and would wait for it for ever. Only the queue's `put` may be called there.
    """
    arrived: SimpleQueue[threading.Event] = SimpleQueue()

    def pass_on() -> None:
        while True:
            arrived.get().set()
            bell.set()

    threading.Thread(target=pass_on, name="signals", daemon=True).start()
    for number, event in events.items():
        signal.signal(number, lambda *_, event=event: arrived.put(event))


def _raise_file_limit() -> None:
    """Many systems start programs with 1,024 files, but let them ask for more; the workers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _database(config: Config) -> Iterator[str]:
    """The DSN to work on; without one in the configuration, an embedded server in the state directory."""
    if config.database.dsn is not None:
        yield config.database.dsn
        return
    server = EmbeddedPostgres(config.state_dir / "postgres")
    server.start()
    try:
        yield server.create_database("headscale")
    finally:
        server.stop()


def _sockets(config: Config, count: int, stack: ExitStack) -> list[socket.socket]:
    host, port = host_port(config.listen_addr)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    _demand_free(family, (host, port), config.listen_addr)
    for _ in range(count):
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(LISTEN_BACKLOG)
        sockets.append(sock)
    return sockets


def _demand_free(family: socket.AddressFamily, address: tuple[str, int], shown: str) -> None:
    """Our sockets share their address, so only one that does not share finds out that it is taken."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise Unavailable(f"cannot listen on {shown}: {error.strerror}") from None


@contextmanager
def _working(crew: list["Worker"]) -> Iterator[None]:
    for worker in crew:
        worker.start()
    try:
        yield
    finally:
        for worker in crew:
            worker.end()
        deadline = time.monotonic() + KILL_AFTER_SECONDS
        for worker in crew:
            worker.wait(deadline)


def _when_ready(crew: list["Worker"], stop: threading.Event, announce: Callable[[], None]) -> None:
    while not stop.is_set() and not all(worker.metrics.is_ready for worker in crew):
        for worker in crew:
            worker.look()
        stop.wait(WATCH_SECONDS)
    if not stop.is_set():
        announce()


def _watch(crew: list["Worker"], stop: threading.Event, bell: threading.Event, reloads: "Reloads") -> None:
    while not stop.is_set():
        for worker in crew:
            worker.look()
        reloads.look()
        is_quiet = all(worker.is_running for worker in crew) and not reloads.is_busy
        bell.wait(QUIET_SECONDS if is_quiet else WATCH_SECONDS)
        bell.clear()
    log.info("stopping", workers=len(crew))


class Reloads:
    """Reloads whenever it was asked for, one after the other, while the supervisor goes on."""

    def __init__(self, asked: threading.Event, reload: Callable[[], None]) -> None:
        self._asked = asked
        self._reload = reload
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """One is under way, and another may have been asked for meanwhile."""
        return self._thread is not None and self._thread.is_alive()

    def look(self) -> None:
        if self._asked.is_set() and not self.is_busy:
            self._asked.clear()
            self._thread = threading.Thread(target=self._reload, name="reload", daemon=True)
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """What is under way may end."""
        if self._thread is not None:
            self._thread.join(RELOAD_END_SECONDS)


class Worker:
    """One worker process: started, watched, started again."""

    def __init__(self, index: int, sock: socket.socket, config_file: Path | None, dsn: str) -> None:
        self._index = index
        self._socket = sock
        self._config_file = config_file
        self._dsn = dsn
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restart_at = 0.0
        self._pause = FIRST_RESTART_SECONDS
        self.metrics = WorkerMetrics()

    def start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as unless_started:
            unless_started.callback(ours.close)
            order = Order(
                index=self._index,
                dsn=self._dsn,
                listen_fd=self._socket.fileno(),
                channel_fd=theirs.fileno(),
                config_file=None if self._config_file is None else str(self._config_file),
                drain_seconds=DRAIN_SECONDS,
            )
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headscale_saas.worker"],
                stdin=subprocess.PIPE,
                pass_fds=(order.listen_fd, order.channel_fd),
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            unless_started.pop_all()
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            stdin.write(msgspec.json.encode(order))
        self._started_at = time.monotonic()
        self.metrics.connect(ours)

    @property
    def is_running(self) -> bool:
        """False from when its end was noticed to its next start."""
        return self._process is not None

    def look(self) -> None:
        """Notices that the worker ended, and starts it again after a pause that grows while it fails."""
        now = time.monotonic()
        process = self._process
        if process is None:
            if now >= self._restart_at:
                self._start_again(now)
        elif process.poll() is not None:
            steady = now - self._started_at > STEADY_SECONDS
            self._pause = FIRST_RESTART_SECONDS if steady else min(2 * self._pause, LAST_RESTART_SECONDS)
            log.warning("worker_ended", worker=self._index, status=process.returncode, again_in=self._pause)
            self.metrics.disconnect()
            self._process, self._restart_at = None, now + self._pause

    def _start_again(self, now: float) -> None:
        """There may be no memory or no process to spare just now, of which this one may have died."""
        try:
            self.start()
        except OSError as problem:
            self._pause = min(2 * self._pause, LAST_RESTART_SECONDS)
            self._restart_at = now + self._pause
            reason = problem.strerror
            log.warning("worker_not_started", worker=self._index, reason=reason, again_in=self._pause)

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def end(self) -> None:
        self.signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("worker_killed", worker=self._index)
            self._process.kill()
            self._process.wait()
        self.metrics.disconnect()
