"""The write lane: one per tailnet and process, with at most one transaction open.

Up to 32 actions that wait share a transaction: one lock, one version, one log row, one commit. If one of them
is refused they are tried once more, with a savepoint each, so that it takes nothing from the others. Each
reply waits for the commit. A hot tailnet thus holds one connection at most, and gives it back to the end of
the queue after each batch.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable

from headscale_saas.errors import Error, Unavailable
from headscale_saas.store.batch import Batch, Request
from headscale_saas.store.constraints import FAILURES, RETRY, translated
from headscale_saas.store.pool import Pool
from headscale_saas.store.transactions import Connection
from headscale_saas.tailnet.model import ProcessNumber, TailnetId, Version

MOST_AT_ONCE = 32
MOST_WAITING = 10_000
ATTEMPTS = 5
BATCH_SECONDS = 20.0


class Lane:
    """The queue of one tailnet, emptied by a task that lives while there is work."""

    def __init__(
        self,
        tailnet: TailnetId,
        process: ProcessNumber,
        pool: Pool,
        begin: str,
        on_commit: Callable[[TailnetId, Version], None],
    ) -> None:
        self.tailnet = tailnet
        self._process = process
        self._pool = pool
        self._begin = begin
        self._on_commit = on_commit
        self._waiting: deque[Request] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: Request) -> None:
        if len(self._waiting) >= MOST_WAITING:
            raise Unavailable("too many changes of this tailnet wait", code="tailnet_busy")
        self._waiting.append(request)

    async def run(self) -> None:
        """Returns when nobody waits. Each problem goes to the requests it concerns; none comes out."""
        while self._waiting:
            batch: list[Request] = []
            try:
                async with self._pool.transaction(self._begin) as connection:
                    # Taken only now, so that all who came while we waited for a connection share it.
                    batch = self._take()
                    async with asyncio.timeout(BATCH_SECONDS):
                        await self._write(connection, batch)
            except TimeoutError:
                fail(batch, Unavailable("the change took too long", code="database_busy"))
            except Exception as problem:
                # Without a connection nobody's turn came: then all who wait are told.
                fail(batch or self._take_all(), problem)
            except BaseException:
                fail([*batch, *self._take_all()], Unavailable("the server stops"))
                raise

    def _take(self) -> list[Request]:
        batch: list[Request] = []
        while self._waiting and len(batch) < MOST_AT_ONCE:
            request = self._waiting.popleft()
            if not request.reply.done():
                batch.append(request)
        return batch

    def _take_all(self) -> list[Request]:
        everybody = list(self._waiting)
        self._waiting.clear()
        return everybody

    async def _write(self, connection: Connection, batch: list[Request]) -> None:
        """Runs the batch; again from its start after a deadlock or a serialization failure."""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))
                await connection.execute(f"rollback; {self._begin}")
            try:
                return await Batch(connection, self.tailnet, self._process, self._on_commit).run(batch)
            except RETRY:
                continue
            except FAILURES as problem:
                raise translated(problem) from None
        raise Unavailable("the change was in the way of others each time", code="database_busy")


def fail(requests: list[Request], problem: Exception) -> None:
    """Each waiter gets an exception of its own: one object raised in many tasks gathers their tracebacks."""
    for request in requests:
        request.fail(copy_of(problem))


def copy_of(problem: Exception) -> Exception:
    if not isinstance(problem, Error):
        return problem
    copy = type(problem).__new__(type(problem), *problem.args)
    copy.__dict__.update(problem.__dict__)
    return copy
