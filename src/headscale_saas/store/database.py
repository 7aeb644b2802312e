"""The ways into PostgreSQL. Each is a transaction with a role of its own, opened for one purpose.

write        for one tailnet, locked, through its lane; the only way to make a version
unversioned  for one tailnet, without the lock: only for `sessions`
read         for one tailnet, at one moment, read only
directory    for what all tailnets share
strangers    the same, for those who are not let in yet: in turns, so that they do not keep the others waiting
newcomers    the same, for the question that all of those have: asked for many at once
feed         for many tailnets, at one moment, read only: catch-up and load
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Self, TypeVar

import asyncpg

from headscale_saas.errors import Invalid, Refused, Unavailable
from headscale_saas.store import roles
from headscale_saas.store.batch import READ_HEAD, Request, commit, fenced, read_head
from headscale_saas.store.constraints import FAILURES, Fenced, translated
from headscale_saas.store.lanes import Lane
from headscale_saas.store.migrate import INSTALLED, refuse_old, refuse_unknown
from headscale_saas.store.newcomers import Newcomers
from headscale_saas.store.pool import IDLE_SECONDS, TIMEOUTS, Address, Pool
from headscale_saas.store.tailnets import HEAD, head_from_record
from headscale_saas.store.transactions import Connection, DirectoryTx, Doer, FeedTx, TailnetTx
from headscale_saas.store.turns import Turns, origin_of
from headscale_saas.tailnet.model import Actor, ProcessNumber, TailnetId, Version

T = TypeVar("T")

# One row at least, so that the identity is told of no tailnets, too.
HEADS = f"""
select i.identity, {HEAD} from (
  select (pg_control_system()).system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
    as identity
) i left join tailnets t on t.id = any($1::bigint[])
"""
# Asked in the last role of the check; a table of a tailnet is one that carries its id and its cluster's.
UNWALLED = """
select array_agg(c.relname order by c.relname) from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and not row_security_active(c.oid)
  and 2 = (select count(*) from pg_attribute a
           where a.attrelid = c.oid and a.attname in ('tailnet_id', 'cluster_id') and not a.attisdropped)
"""
CLOSE_SECONDS = 10.0
TOOL = ProcessNumber(0)
"""The process number of programs that are no server: no heartbeat, never declared dead."""


def ignore_commit(tailnet: TailnetId, version: Version) -> None:
    """The `on_commit` of those who have nobody to wake."""


def ignore_fenced() -> None:
    """The `on_fenced` of those who are not a process."""


class Database:
    """One process's access to one database.

    `on_commit` hears each version after its commit and must not block; `on_fenced` hears that this process
    was declared dead. Both may be set after `open`.
    """

    def __init__(self, address: Address, process: ProcessNumber, pool: Pool) -> None:
        self.process = process
        self.address = address
        self.on_commit: Callable[[TailnetId, Version], None] = ignore_commit
        self.on_fenced: Callable[[], None] = ignore_fenced
        self._pool = pool
        self.newcomers = Newcomers(self.directory)
        self._turns = Turns(max(1, pool.size // 2))
        self._limits = _set_local(TIMEOUTS) if address.pooler else ""
        self._lanes: dict[TailnetId, tuple[Lane, asyncio.Task[None]]] = {}
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        process: ProcessNumber = TOOL,
        name: str = "headscale-saas",
        pool_size: int = 8,
        idle_seconds: float = IDLE_SECONDS,
        pooler: bool = False,
    ) -> Self:
        """Connects; refuses where row-level security would not bind us, and a schema that is not ours.

        `name` and the process number become `application_name`. `pooler` says that a PgBouncer in transaction
        mode is in between. Connections that nobody used for `idle_seconds` are closed. Raises Unavailable, or
        Refused with what to do.
        """
        address = Address(dsn=dsn, name=f"{name}/{int(process)}", pooler=pooler)
        database = cls(address, process, Pool(address, pool_size, idle_seconds))
        try:
            async with database._transaction("begin read only") as connection:
                await roles.check(connection)
                await _check_schema(connection)
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Waits up to 10 s for the writes that are under way, and takes no new ones."""
        self._is_closed = True
        tasks = [task for _, task in self._lanes.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self.newcomers.close()
        await self._pool.close()

    @property
    def waiting(self) -> int:
        """Actions that wait in the write lanes."""
        return sum(len(lane) for lane, _ in self._lanes.values())

    async def write(self, tailnet: TailnetId, actor: Actor, verb: Callable[[TailnetTx], Awaitable[T]]) -> T:
        """Runs `verb` in the tailnet's lane and returns its result after the commit.

        What the verb raises undoes its own writes only. It may run more than once (deadlock), so it must have
        no effects besides its SQL; it does not run at all if we are cancelled before its turn. Raises also
        NotFound (no such tailnet), Fenced, OutcomeUnknown and Unavailable.
        """
        if self._is_closed:
            raise Unavailable("the database is closed")
        request = Request(Doer(actor.kind, actor.name, actor.origin), verb)
        self._queue(tailnet, request)
        try:
            result: T = await request.reply
        except Fenced:
            self.on_fenced()
            raise
        return result

    def _queue(self, tailnet: TailnetId, request: Request) -> None:
        if tailnet in self._lanes:
            self._lanes[tailnet][0].put(request)
            return
        begin = self._begin("begin", "hs_app", tailnet)
        lane = Lane(tailnet, self.process, self._pool, begin, self._committed)
        lane.put(request)
        self._lanes[tailnet] = lane, asyncio.create_task(self._run(lane), name=f"lane {tailnet}")

    async def _run(self, lane: Lane) -> None:
        # Nothing is awaited between the lane's end and its removal: nobody can queue in an ended lane.
        try:
            await lane.run()
        finally:
            del self._lanes[lane.tailnet]

    def _committed(self, tailnet: TailnetId, version: Version) -> None:
        self.on_commit(tailnet, version)

    @asynccontextmanager
    async def unversioned(self, tailnet: TailnetId) -> AsyncIterator[TailnetTx]:
        """Without the lock and without a version. It may write `sessions` and nothing else."""
        begin = self._begin("begin", "hs_app", tailnet)
        async with self._tailnet_tx(begin, tailnet) as tx:
            if not tx.is_alive:
                self.on_fenced()
                raise fenced()
            yield tx

    @asynccontextmanager
    async def read(self, tailnet: TailnetId) -> AsyncIterator[TailnetTx]:
        """The tailnet at one moment."""
        begin = self._begin("begin isolation level repeatable read read only", "hs_app", tailnet)
        async with self._tailnet_tx(begin, tailnet) as tx:
            yield tx

    @asynccontextmanager
    async def _tailnet_tx(self, begin: str, tailnet: TailnetId) -> AsyncIterator[TailnetTx]:
        async with self._transaction(begin) as connection:
            head = await read_head(connection, READ_HEAD, tailnet, self.process)
            tx = TailnetTx(connection, head, self.process)
            try:
                yield tx
            finally:
                tx.close()

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[DirectoryTx]:
        """What all tailnets share."""
        async with self._transaction(self._begin("begin", "hs_directory")) as connection:
            tx = DirectoryTx(connection, self.process)
            try:
                yield tx
            finally:
                tx.close()

    @asynccontextmanager
    async def strangers(self, origin: str) -> AsyncIterator[DirectoryTx]:
        """As `directory`, for what anybody on the Internet may cause. They have half of the connections,
        in turns by origin. Never opened inside another transaction."""
        async with self._turns.turn(origin_of(origin)), self.directory() as tx:
            yield tx

    @asynccontextmanager
    async def feed(self, tailnets: Collection[TailnetId]) -> AsyncIterator[FeedTx]:
        """These tailnets (at most 1,000) at one moment."""
        if len(tailnets) > FeedTx.MOST:
            raise Invalid(f"a feed reads at most {FeedTx.MOST} tailnets at once")
        listed = ",".join(str(int(tailnet)) for tailnet in tailnets)
        begin = self._begin("begin isolation level repeatable read read only", "hs_feed")
        async with self._transaction(f"{begin}; set local app.tailnets = '{{{listed}}}'") as connection:
            try:
                rows = await connection.fetch(HEADS, list(tailnets))
            except FAILURES as problem:
                raise translated(problem) from None
            heads = {row["id"]: head_from_record(row) for row in rows if row["id"] is not None}
            tx = FeedTx(connection, rows[0]["identity"], heads)
            try:
                yield tx
            finally:
                tx.close()

    def _begin(self, mode: str, role: str, tailnet: TailnetId | None = None) -> str:
        """One round trip. Only numbers of ours are put into the text."""
        scope = "" if tailnet is None else f"; set local app.tailnet = '{int(tailnet)}'"
        return f"{mode}; set local role {role}{scope}{self._limits}"

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[Connection]:
        async with self._pool.transaction(begin) as connection:
            yield connection
            await commit(connection)


async def _check_schema(connection: Connection) -> None:
    try:
        row = await connection.fetchrow(INSTALLED)
    except asyncpg.UndefinedTableError:
        raise Refused("the database has no schema: migrate first", code="schema_too_old") from None
    refuse_unknown(row["version"], row["compat_version"])
    refuse_old(row["version"])
    unwalled = await connection.fetchval(UNWALLED)
    if unwalled:
        raise Refused(f"row-level security does not bind us on {', '.join(unwalled)}", code="roles_bypass")


def _set_local(settings: dict[str, str]) -> str:
    return "".join(f"; set local {name} = '{value}'" for name, value in settings.items())
