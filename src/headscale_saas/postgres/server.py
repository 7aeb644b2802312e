"""Runs PostgreSQL as a child and keeps it running.

One thread owns the child from fork to wait, so it lives as long as the process does: the kernel stops
PostgreSQL when the thread that started it ends. Who runs the server is decided by a lock file beside the
data directory, inherited by every PostgreSQL process: it is free exactly when the last of them is gone,
whatever a stale postmaster.pid says. A process that does not get the lock uses the running server, and
takes over when that one ends.
"""

import collections
import contextlib
import fcntl
import logging
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import psycopg
from psycopg import sql

from headscale_saas.errors import Unavailable
from headscale_saas.observe import get_logger
from headscale_saas.postgres import binaries, child, owner

SUPERUSER = "headscale"
START_SECONDS = 120.0
STOP_SECONDS = 30.0
RETRY_SECONDS = 0.05
JOINED_SECONDS = 0.5
MOST_RETRY_SECONDS = 5.0
"""A child that keeps dying is started again after a pause that doubles up to this."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Constraint violations are everyday answers here, and their details may hold secrets.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_line_prefix": "",
}
CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

UNFINISHED = "initdb has not finished: the data directory holds nothing worth keeping\n"

ALARMING = re.compile(r"PANIC:|LOG:  server process .* (was terminated|exited)")
"""Other faults are answers to a client of ours, which says them itself."""

log = get_logger(__name__)


class EmbeddedPostgres:
    """A PostgreSQL in `data_dir`, reached through a unix socket only its user (and root) can open.

    `binaries` is a `bin` directory to use instead of the wheel's. `durable=False` gives up the promise
    that a commit survives a crash of the machine: for tests.
    """

    def __init__(self, data_dir: Path, *, binaries: Path | None = None, durable: bool = True) -> None:
        self.asked_for = data_dir.absolute()
        self.binaries = binaries
        self.settings = SETTINGS | ({} if durable else CARELESS)
        self.durable = durable
        self.user: pwd.struct_passwd | None = None
        self.data_dir = self.asked_for
        self.socket_dir = self.asked_for
        self._bin = Path()
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()
        self._settled = threading.Event()
        self._fault: Unavailable | None = None
        self._last_words: collections.deque[str] = collections.deque(maxlen=20)
        self._thread = threading.Thread(target=self._keep_running, name="postgres", daemon=True)

    def start(self) -> None:
        """Returns when the server answers, started by us or by another process. Raises `Unavailable`."""
        self.user = owner.choose(self.asked_for)
        self.data_dir = owner.place_data(self.asked_for, self.user)
        self.socket_dir = owner.place_socket(self.data_dir, self.user)
        self._bin = binaries.choose(self.data_dir, self.binaries)
        if self.user and not owner.may_enter(self._bin, self.user):
            self._bin = binaries.copy(self._bin, owner.CACHE)
        self._thread.start()
        if not self._settled.wait(START_SECONDS):
            self._fault = Unavailable(f"PostgreSQL in {self.data_dir} did not start in {START_SECONDS:.0f} s")
        if self._fault:
            self.stop()
            raise self._fault

    def stop(self) -> None:
        """Ends the server if it is ours: open transactions are rolled back, the data is left clean."""
        self._stopping.set()
        if process := self._process:
            self._end(process)
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        if self.socket_dir != self.data_dir and self._process:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def dsn(self, database: str) -> str:
        """A URL that asyncpg, psycopg and libpq take."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?host={host}"

    def create_database(self, name: str) -> str:
        """The DSN of database `name`, which is made if there is none."""
        make = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        # The second is what the loser sees of two processes that make it at the same moment.
        exists = contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)
        with psycopg.connect(self.dsn("postgres"), autocommit=True, connect_timeout=10) as admin, exists:
            admin.execute(make)
        return self.dsn(name)

    @property
    def is_ours(self) -> bool:
        """False while we use a server that another process runs."""
        return self._process is not None and self._process.poll() is None

    # The thread

    def _keep_running(self) -> None:
        pause = RETRY_SECONDS
        while not self._stopping.wait(pause if self._settled.is_set() else 0.0):
            began = time.monotonic()
            try:
                self._run_or_join()
            except Exception as problem:
                self._give_up_or_log(problem)
            is_steady = not self._process or time.monotonic() - began > MOST_RETRY_SECONDS
            pause = RETRY_SECONDS if is_steady else min(pause * 2, MOST_RETRY_SECONDS)

    def _run_or_join(self) -> None:
        if lock := self._lock():
            self._process = None
            self._run(lock)
        elif self._settled.is_set():
            self._stopping.wait(JOINED_SECONDS)
        elif self._answers():
            self._settled.set()
        else:
            self._stopping.wait(RETRY_SECONDS)

    def _give_up_or_log(self, problem: Exception) -> None:
        """The first start answers for its faults; later ones are tried again for ever."""
        if self._settled.is_set():
            log.error("postgres_not_started_again", error=str(problem))
            return
        self._fault = problem if isinstance(problem, Unavailable) else Unavailable(f"PostgreSQL: {problem}")
        self._stopping.set()
        self._settled.set()

    def _lock(self) -> TextIO | None:
        path = self.data_dir.with_name(self.data_dir.name + ".lock")
        lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return lock

    def _run(self, lock: TextIO) -> None:
        """Starts the server and returns when it has ended."""
        with lock:
            self._prepare(lock)
            settings = self.settings | {"unix_socket_directories": str(self.socket_dir)}
            arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            process = self._spawn(["postgres", "-D", str(self.data_dir), *arguments], keep_open=lock.fileno())
        self._process = process
        if self._stopping.is_set():
            self._end(process)
        asker = threading.Thread(target=self._announce, args=(process,), name="postgres-start", daemon=True)
        asker.start()
        self._drain(process)
        asker.join()
        if not self._settled.is_set():
            raise Unavailable("PostgreSQL did not start: " + " | ".join(self._last_words))
        if not self._stopping.is_set():
            log.error("postgres_ended_and_is_started_again", status=process.returncode)

    def _prepare(self, lock: TextIO) -> None:
        stale = self.data_dir / "postmaster.pid"
        if stale.exists():
            if runs_here(stale, self.data_dir):
                raise Unavailable(f"a PostgreSQL that is not ours runs in {self.data_dir}")
            # Its number may belong to a stranger by now, and PostgreSQL would take that for a live server.
            stale.unlink()
        if lock.read() == UNFINISHED:
            for path in self.data_dir.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if binaries.data_version(self.data_dir) is None:
            mark(lock, UNFINISHED)
            self._initialise()
            mark(lock, "")

    def _initialise(self) -> None:
        log.info("database_made", directory=str(self.data_dir))
        command = ["initdb", "-D", str(self.data_dir), "-U", SUPERUSER, "--encoding=UTF8"]
        command += ["--locale=C.UTF-8", "--auth-local=trust", "--auth-host=reject"]
        process = self._spawn(command if self.durable else [*command, "--no-sync"])
        self._drain(process)
        if process.returncode:
            raise Unavailable("PostgreSQL's initdb failed: " + " | ".join(self._last_words))

    def _spawn(self, command: list[str], *, keep_open: int | None = None) -> subprocess.Popen[str]:
        user = self.user.pw_name if self.user else "-"
        launcher = [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), user]
        return subprocess.Popen(
            [*launcher, str(self._bin / command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            pass_fds=() if keep_open is None else (keep_open,),
            start_new_session=True,  # Ctrl-C is for us; we stop the database last
        )

    def _drain(self, process: subprocess.Popen[str]) -> None:
        """Logs what the child says until it and all its children are gone."""
        assert process.stdout
        with process.stdout as lines:
            for line in filter(None, map(str.strip, lines)):
                self._last_words.append(line)
                log.log(
                    logging.WARNING if ALARMING.match(line) else logging.DEBUG, "postgres_says", line=line
                )
        process.wait()

    def _announce(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None and not self._settled.is_set():
            if self._answers():
                self._settled.set()
            self._stopping.wait(RETRY_SECONDS)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.dsn("postgres"), connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Asks for the fast stop, then the immediate one, then takes no answer."""
        for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(request)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                return


def mark(lock: TextIO, text: str) -> None:
    """What the next one who gets the lock has to know, also after a crash of the machine."""
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()
    os.fsync(lock.fileno())


def runs_here(pid_file: Path, data_dir: Path) -> bool:
    """Whether the process named in postmaster.pid is a server that works in `data_dir`."""
    try:
        number = int(pid_file.read_text().split("\n", 1)[0])
        return Path(f"/proc/{number}/cwd").readlink() == data_dir
    except (OSError, ValueError):
        return False
