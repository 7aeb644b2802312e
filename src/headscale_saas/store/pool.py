"""Connections: bounded, first come first served, and dropped together when the server went away."""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import asyncpg
import msgspec

from headscale_saas.errors import Unavailable
from headscale_saas.store.constraints import FAILURES, DatabaseGone, not_connected, translated
from headscale_saas.store.transactions import Connection

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 15.0
"""The last resort, for a network that swallows answers; the server's own timeouts come first."""
REPLAN_SECONDS = 30
"""A plan made while a table was small is not kept for ever, though nobody has analysed the table yet."""
WAIT_SECONDS = 10.0
IDLE_SECONDS = 3600.0
CLOSE_SECONDS = 3.0

TIMEOUTS = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
}
PLANNING = {"random_page_cost": "1.1"}
"""What we read is in memory: a plan made for a small table shall not read all of it once it has grown."""
KEEPALIVE = (
    (socket.SO_KEEPALIVE, socket.SOL_SOCKET, 1),
    (getattr(socket, "TCP_KEEPIDLE", None), socket.IPPROTO_TCP, 10),
    (getattr(socket, "TCP_KEEPINTVL", None), socket.IPPROTO_TCP, 10),
    (getattr(socket, "TCP_KEEPCNT", None), socket.IPPROTO_TCP, 3),
    (getattr(socket, "TCP_USER_TIMEOUT", None), socket.IPPROTO_TCP, 15_000),
)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to connect. Behind a `pooler` (PgBouncer, transaction mode) a connection keeps nothing
    between transactions: no prepared statements, no settings at its start."""

    dsn: str
    name: str
    pooler: bool = False

    async def connect(self) -> Connection:
        """A connection to a server that is not in recovery. Raises Unavailable."""
        settings = {"application_name": self.name[:63]}
        if not self.pooler:
            settings |= TIMEOUTS | PLANNING
        try:
            connection = await asyncpg.connect(
                self.dsn,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                statement_cache_size=0 if self.pooler else 200,
                max_cached_statement_lifetime=REPLAN_SECONDS,
                server_settings=settings,
                target_session_attrs="primary",
            )
        except FAILURES as problem:
            raise not_connected(problem) from None
        _keep_alive(connection)
        return connection


def _keep_alive(connection: Connection) -> None:
    # The driver has no setting for it.
    link = connection._transport.get_extra_info("socket")
    if link is None or link.family == socket.AF_UNIX:
        return
    for option, level, value in KEEPALIVE:
        if option is not None:
            link.setsockopt(level, option, value)


class Pool:
    """At most `size` connections. Waiting callers are served in the order they came.

    The connection that was used last is used next, so those that are too many become idle; after
    `idle_seconds` they are closed.
    """

    def __init__(self, address: Address, size: int, idle_seconds: float = IDLE_SECONDS) -> None:
        self.size = size
        self._address = address
        self._places = asyncio.Semaphore(size)
        self._idle_seconds = idle_seconds
        self._idle: deque[tuple[Connection, float]] = deque()
        self._closing: set[asyncio.Task[None]] = set()
        self._lent: set[Connection] = set()
        self._condemned: set[Connection] = set()
        self._closed = False

    @asynccontextmanager
    async def transaction(self, begin: str) -> AsyncIterator[Connection]:
        """A connection on which `begin` was run. Commits nothing: what is open at the end is rolled back.

        Raises Unavailable after 10 s of waiting for a place.
        """
        async with self._place():
            connection = await self._begun(begin)
            try:
                yield connection
            except DatabaseGone:
                self.drop()
                raise
            finally:
                await self._take_back(connection)

    def drop(self) -> None:
        """Every connection there is now leads to the wrong server: idle ones close now, others when free."""
        for connection, _ in self._idle:
            connection.terminate()
        self._idle.clear()
        self._condemned |= self._lent

    async def close(self) -> None:
        """Idle connections end politely; those in use end when they come back."""
        self._closed = True
        self._close_idle(-inf)
        await asyncio.gather(*self._closing)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable("every database connection is in use") from None
        try:
            yield
        finally:
            self._places.release()

    async def _begun(self, begin: str) -> Connection:
        """An idle connection may have died unseen: nothing was done on it yet, so a fresh one may try."""
        while self._idle:
            with contextlib.suppress(DatabaseGone):
                return await self._begin(self._idle.pop()[0], begin)
            self.drop()
        if self._closed:
            raise Unavailable("the database is closed")
        return await self._begin(await self._address.connect(), begin)

    async def _begin(self, connection: Connection, begin: str) -> Connection:
        self._lent.add(connection)
        try:
            await connection.execute(begin)
        except BaseException as problem:
            self._lent.discard(connection)
            connection.terminate()
            if isinstance(problem, FAILURES):
                raise translated(problem) from None
            raise
        return connection

    async def _take_back(self, connection: Connection) -> None:
        is_fit = False
        try:
            if connection.is_in_transaction() and not connection.is_closed():
                with contextlib.suppress(*FAILURES):
                    await connection.execute("rollback")
            is_fit = not (connection.is_closed() or connection.is_in_transaction() or self._closed)
        finally:
            self._lent.discard(connection)
            if is_fit and connection not in self._condemned:
                now = asyncio.get_running_loop().time()
                self._idle.append((connection, now))
                self._close_idle(self._idle_seconds, now)
            else:
                self._condemned.discard(connection)
                connection.terminate()

    def _close_idle(self, seconds: float, now: float = 0.0) -> None:
        """Ends those that were idle for longer, politely and without making anybody wait."""
        while self._idle and now - self._idle[0][1] > seconds:
            connection, _ = self._idle.popleft()
            task = asyncio.get_running_loop().create_task(_end(connection))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _end(connection: Connection) -> None:
    with contextlib.suppress(*FAILURES):
        await connection.close(timeout=CLOSE_SECONDS)
