"""What the ways into the database hand out: transactions, each opened for one purpose and with one role."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

import asyncpg

from headscale_saas.store.constraints import FAILURES, translated
from headscale_saas.store.tailnets import TailnetHead
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import NodeId, ProcessNumber, TailnetId, UserId, Version

Connection = Any
"""An asyncpg connection, which brings no types."""


class Transaction:
    """SQL with $1, $2, … and values. Raises the domain errors of `constraints`, or Unavailable."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection = connection

    async def fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
        try:
            return await self._connection.fetch(sql, *values)  # type: ignore[no-any-return]
        except FAILURES as problem:
            raise translated(problem) from None

    async def fetchrow(self, sql: str, *values: object) -> asyncpg.Record | None:
        try:
            return await self._connection.fetchrow(sql, *values)
        except FAILURES as problem:
            raise translated(problem) from None

    async def fetchval(self, sql: str, *values: object) -> Any:
        """The first column of the first row; None if there is no row."""
        try:
            return await self._connection.fetchval(sql, *values)
        except FAILURES as problem:
            raise translated(problem) from None

    async def execute(self, sql: str, *values: object) -> int:
        """The number of rows that were written or found."""
        try:
            status: str = await self._connection.execute(sql, *values)
        except FAILURES as problem:
            raise translated(problem) from None
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What fails inside is undone, and the transaction can go on."""
        await self.execute("savepoint part")
        try:
            yield
        except Exception:
            await self.execute("rollback to savepoint part; release savepoint part")
            raise
        await self.execute("release savepoint part")

    def close(self) -> None:
        """Whoever kept the transaction beyond its end finds no connection in it."""
        self._connection = None


class Entry(NamedTuple):
    """One audit row to be. `detail` is JSON text."""

    kind: str
    actor: str
    origin: str
    action: str
    target: str
    detail: str


def nothing_left_out() -> int:
    """The share of what is always written."""
    return 0


class Doer(NamedTuple):
    """The actor of a write as the audit log has it."""

    kind: str
    name: str
    origin: str


NOBODY = Doer("", "", "")


class LiveHead(NamedTuple):
    """The head as the transaction found it. `is_alive` is False if our process was declared dead."""

    head: TailnetHead
    now: datetime
    is_alive: bool


class TailnetTx(Transaction):
    """A transaction for ONE tailnet: role hs_app, and row-level security hides every other.

    From `Database.write` the head is locked and `version` is the one before this write. From `read` and
    `unversioned` nothing is locked. `now` is the database's time at the start of the transaction, in UTC.
    `process` is 0 for tools. `is_at_head` is False where other writes of the same lane came before, so that
    the rows are no longer those of the head's version.
    """

    __slots__ = (
        "_audits", "_doer", "_nodes", "_policy", "_settings", "_users",
        "head", "is_alive", "is_at_head", "now", "process",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        found: LiveHead,
        process: ProcessNumber,
        doer: Doer = NOBODY,
    ) -> None:
        super().__init__(connection)
        self.head, self.now, self.is_alive = found
        self.process = process
        self.is_at_head = True
        self._doer = doer
        self._nodes: set[NodeId] = set()
        self._users: set[UserId] = set()
        self._settings = False
        self._policy = False
        self._audits: list[tuple[str, str, Mapping[str, object], Callable[[], int | None]]] = []

    @property
    def tailnet(self) -> TailnetId:
        return self.head.id

    @property
    def next_version(self) -> Version:
        """The version this write will make, if it touches anything."""
        return Version(self.head.version + 1)

    def touch(
        self,
        *,
        nodes: Iterable[NodeId] = (),
        users: Iterable[UserId] = (),
        settings: bool = False,
        policy: bool = False,
    ) -> None:
        """Makes this write a version that touched these rows. Deleted rows count."""
        self._nodes.update(nodes)
        self._users.update(users)
        self._settings = self._settings or settings
        self._policy = self._policy or policy

    def audit(
        self,
        action: str,
        target: str,
        detail: Mapping[str, object] | None = None,
        left_out: Callable[[], int | None] = nothing_left_out,
    ) -> None:
        """One row for the audit log, written with the rest or not at all. Never a secret.

        `left_out` is asked once, when the row is about to be written. None leaves it out; a number of rows
        left out before goes into it.
        """
        self._audits.append((action, target, detail or {}, left_out))

    @property
    def is_touched(self) -> bool:
        return bool(self._nodes or self._users or self._settings or self._policy)

    @property
    def touched(self) -> Touched:
        return Touched(
            nodes=frozenset(self._nodes),
            users=frozenset(self._users),
            settings=self._settings,
            policy=self._policy,
        )

    def audits(self) -> Iterator[Entry]:
        """The rows to write. To be asked once, since verbs may run again, and what they note is rationed."""
        for action, target, detail, left_out in self._audits:
            count = left_out()
            if count is not None:
                counted = {**detail, "left_out": count} if count else detail
                yield Entry(*self._doer, action, target, encode(counted).decode())


class DirectoryTx(Transaction):
    """Role hs_directory: what all tailnets share, and no content of any."""

    __slots__ = ("process",)

    def __init__(self, connection: Connection, process: ProcessNumber) -> None:
        super().__init__(connection)
        self.process = process


class FeedTx(Transaction):
    """Role hs_feed: reads certain tailnets and nothing else, all of it at one moment.

    `heads` has those among them that exist. `identity` names the database (system and timeline): caches of
    another one are worthless.
    """

    MOST: ClassVar[int] = 1000

    __slots__ = ("heads", "identity")

    def __init__(self, connection: Connection, identity: str, heads: Mapping[TailnetId, TailnetHead]) -> None:
        super().__init__(connection)
        self.identity = identity
        self.heads = heads
