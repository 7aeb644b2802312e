"""One write transaction: lock the tailnet's head, run the verbs, write version, log and audit, commit.

Five round trips for a verb of one statement: begin, head, the statement, log and audit, commit.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from headscale_saas.errors import NotFound
from headscale_saas.store.constraints import FAILURES, FATAL, DatabaseGone, Fenced, OutcomeUnknown, translated
from headscale_saas.store.tailnets import HEAD, head_from_record
from headscale_saas.store.transactions import Connection, Doer, Entry, LiveHead, TailnetTx
from headscale_saas.tailnet.changes import Touched, union
from headscale_saas.tailnet.model import ProcessNumber, TailnetId, Version

# Asked with the lock and again with the version, so that a long wait for the lock cannot hide a death.
# Between that and the commit a death can still slip in; whoever retires the dead goes by "is dead", again
# and again, and so finds what came late. A lock on the process's row would make every write wait for the
# heartbeat.
ALIVE = "($2::bigint = 0 or exists (select from processes p where p.number = $2 and p.dead_at is null))"
READ_HEAD = f"select {HEAD}, now() as now, {ALIVE} as alive from tailnets t where t.id = $1"
LOCK_HEAD = f"{READ_HEAD} for no key update of t"

LOGGED = f"""
head as (
  update tailnets set version = version + 1 where id = $1 and {ALIVE} returning version, cluster_id
), logged as (
  insert into changes (tailnet_id, version, cluster_id, process, at, nodes, users, settings, policy)
  select $1, version, cluster_id, $2, now(), $3::bigint[], $4::bigint[], $5, $6 from head
  returning version
)
"""
AUDITED = """
place as (
  update tailnet_settings set next_audit_id = next_audit_id + cardinality({0})
  where tailnet_id = $1 returning next_audit_id - cardinality({0}) - 1 as last, cluster_id
), audited as (
  insert into audit (
    tailnet_id, id, cluster_id, process, at, actor_kind, actor, origin, action, target, detail
  )
  select $1, place.last + e.i, place.cluster_id, $2, now(),
    e.kind, e.actor, e.origin, e.action, e.target, e.detail
  from place, unnest({0}, {1}, {2}, {3}, {4}, {5})
    with ordinality as e(kind, actor, origin, action, target, detail, i)
)
"""


def _audited(first: int) -> str:
    """With its six columns as the parameters from this number on."""
    return AUDITED.format(*(f"${number}::text[]" for number in range(first, first + 6)))


WRITE_LOG = f"with {LOGGED} select version from logged"
WRITE_AUDIT = f"with {_audited(3)} select null::bigint"
WRITE_BOTH = f"with {LOGGED}, {_audited(7)} select version from logged"

Verb = Callable[[TailnetTx], Awaitable[Any]]


class Request:
    """One action that waits for its turn. A reply done before its turn: the waiter left."""

    __slots__ = ("doer", "reply", "verb")

    def __init__(self, doer: Doer, verb: Verb) -> None:
        self.doer = doer
        self.verb = verb
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def fail(self, problem: BaseException) -> None:
        if not self.reply.done():
            self.reply.set_exception(problem)

    def succeed(self, result: object) -> None:
        if not self.reply.done():
            self.reply.set_result(result)


class Batch:
    """One transaction of a lane."""

    def __init__(
        self,
        connection: Connection,
        tailnet: TailnetId,
        process: ProcessNumber,
        on_commit: Callable[[TailnetId, Version], None],
    ) -> None:
        self._connection = connection
        self._tailnet = tailnet
        self._process = process
        self._on_commit = on_commit
        self._done: list[tuple[Request, TailnetTx, object]] = []
        self._refused: list[tuple[Request, Exception]] = []

    async def run(self, requests: list[Request]) -> None:
        if not requests:
            return
        head = await read_head(self._connection, LOCK_HEAD, self._tailnet, self._process)
        if not head.is_alive:
            raise fenced()
        if len(requests) == 1:
            await self._try(requests[0], head)
        elif not await self._try_together(requests, head):
            await self._try_each(requests, head)
        version = await self._finish()
        if version is not None:
            self._on_commit(self._tailnet, version)
        for request, problem in self._refused:
            request.fail(problem)
        for request, _, result in self._done:
            request.succeed(result)

    async def _try_together(self, requests: list[Request], head: LiveHead) -> bool:
        """Mostly nobody is refused, and a savepoint for each is a round trip for each.

        False: somebody was. Then nothing is done yet, and there is a savepoint.
        """
        await self._connection.execute("savepoint verb")
        try:
            for request in requests:
                if not request.reply.done():
                    await self._try(request, head)
        except FATAL:
            raise
        except Exception:
            self._done.clear()
            await self._connection.execute("rollback to savepoint verb")
            return False
        return True

    async def _try_each(self, requests: list[Request], head: LiveHead) -> None:
        for request in requests:
            # Its waiter may have left while others had their turn.
            if request.reply.done():
                continue
            try:
                await self._try(request, head)
            except FATAL:
                raise
            except Exception as problem:
                self._refused.append((request, problem))
                await self._connection.execute("rollback to savepoint verb")
            else:
                await self._connection.execute("release savepoint verb; savepoint verb")

    async def _try(self, request: Request, head: LiveHead) -> None:
        tx = TailnetTx(self._connection, head, self._process, request.doer)
        tx.is_at_head = not any(done.is_touched for _, done, _ in self._done)
        try:
            result = await request.verb(tx)
        finally:
            tx.close()
        self._done.append((request, tx, result))

    async def _finish(self) -> Version | None:
        if not self._done:
            return None  # the pool rolls back
        touched = [tx.touched for _, tx, _ in self._done if tx.is_touched]
        entries = [entry for _, tx, _ in self._done for entry in tx.audits()]
        version = await self._record(union(touched) if touched else None, entries)
        await commit(self._connection)
        return version

    async def _record(self, touched: Touched | None, entries: list[Entry]) -> Version | None:
        """Version, log row and audit rows, in one round trip."""
        columns = [list(column) for column in zip(*entries, strict=True)]
        log = [] if touched is None else _log_row(touched)
        if not log and not columns:
            return None
        sql = WRITE_BOTH if log and columns else WRITE_LOG if log else WRITE_AUDIT
        version: Version | None = await self._connection.fetchval(
            sql, self._tailnet, self._process, *log, *columns
        )
        if log and version is None:
            raise fenced()
        return version


def _log_row(touched: Touched) -> list[object]:
    return [sorted(touched.nodes), sorted(touched.users), touched.settings, touched.policy]


async def commit(connection: Connection) -> None:
    """Raises OutcomeUnknown if we cannot know."""
    try:
        status = await connection.execute("commit")
    except FAILURES as problem:
        refusal = translated(problem)
        if isinstance(refusal, DatabaseGone):
            raise OutcomeUnknown("the database went away during the commit") from None
        raise refusal from None
    if status != "COMMIT":
        raise RuntimeError("the work went on after an error of the database: use tx.savepoint()")


async def read_head(connection: Connection, sql: str, tailnet: TailnetId, process: ProcessNumber) -> LiveHead:
    """Raises NotFound for a tailnet that is not there."""
    try:
        row = await connection.fetchrow(sql, tailnet, process)
    except FAILURES as problem:
        raise translated(problem) from None
    if row is None:
        raise NotFound("there is no such tailnet", code="no_such_tailnet")
    return LiveHead(head_from_record(row), row["now"], row["alive"])


def fenced() -> Fenced:
    return Fenced("this process was declared dead; it must start anew")
