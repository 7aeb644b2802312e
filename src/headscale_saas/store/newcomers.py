"""What the directory knows of the keys in registrations.

Anybody on the Internet may ask. One transaction at a time asks for up to 32 of them, taken in turns by
origin: so they share its cost when many come, and a flood waits behind itself.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from headscale_saas.errors import Unavailable
from headscale_saas.store.directory.keys import NodeRef, ref_from_record
from headscale_saas.store.lanes import copy_of
from headscale_saas.store.transactions import DirectoryTx
from headscale_saas.store.turns import WAIT_SECONDS, ByTurns, origin_of, too_busy
from headscale_saas.tailcfg.keys import NodeKey
from headscale_saas.tailnet.model import TailnetId

MOST_AT_ONCE = 32

WHEREABOUTS = """
select k.tailnet_id, k.node_id, k.machine_key, k.node_key, k.freed_at, t.version, null as prefix
from node_keys k join tailnets t on t.id = k.tailnet_id where k.node_key = any($1::bytea[])
union all
select tailnet_id, null, null, null, null, null, prefix from auth_key_prefixes where prefix = any($2::text[])
"""


class Whereabouts(msgspec.Struct, frozen=True, kw_only=True):
    """`held` and `held_before` are the nodes of the node key and of the one before it.

    `auth_tailnet` is the one of the auth key. `is_resting`: the node of `held` was deleted, and nobody may
    have its key so soon.
    """

    auth_tailnet: TailnetId | None
    held: NodeRef | None
    held_before: NodeRef | None
    is_resting: bool = False


class Question(msgspec.Struct, frozen=True, eq=False):
    """`prefix` is that of an auth key. An answer given before its turn: who asked has left."""

    key: NodeKey
    before: NodeKey
    prefix: str | None
    answer: asyncio.Future[Whereabouts]

    def reply(self, answer: Whereabouts) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, problem: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(problem)


class Newcomers:
    """`directory` opens a transaction."""

    def __init__(self, directory: Callable[[], AbstractAsyncContextManager[DirectoryTx]]) -> None:
        self._directory = directory
        self._waiting = ByTurns[Question]()
        self._task: asyncio.Task[None] | None = None

    async def whereabouts(
        self, origin: str, key: NodeKey, before: NodeKey, prefix: str | None
    ) -> Whereabouts:
        """Looks up a node key, the one before it and the prefix of an auth key. Raises Unavailable, also
        after 10 s of waiting. Never to be asked inside a transaction."""
        question = Question(key, before, prefix, asyncio.get_running_loop().create_future())
        self._waiting.append(origin_of(origin), question)
        if self._task is None or self._task.done():  # one that is cancelled at once ends without a word
            self._task = asyncio.create_task(self._run(), name="newcomers")
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await question.answer
        except TimeoutError:
            raise too_busy() from None

    async def close(self) -> None:
        """Who waits is told that the server stops."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        while self._waiting:
            self._waiting.take().fail(Unavailable("the server stops"))

    async def _run(self) -> None:
        # Nothing is awaited between the last look and the end: nobody can ask one that has ended.
        try:
            while self._waiting:
                await self._answer(self._take())
        finally:
            self._task = None

    def _take(self) -> list[Question]:
        batch: list[Question] = []
        while self._waiting and len(batch) < MOST_AT_ONCE:
            question = self._waiting.take()
            if not question.answer.done():
                batch.append(question)
        return batch

    async def _answer(self, batch: Sequence[Question]) -> None:
        if not batch:
            return
        try:
            async with self._directory() as tx:
                # Nothing is written, so nobody waits for the commit, or hears that it failed.
                for question, answer in zip(batch, await _look(tx, batch), strict=True):
                    question.reply(answer)
        except Exception as problem:
            for question in batch:
                question.fail(copy_of(problem))
        except BaseException:
            for question in batch:
                question.fail(Unavailable("the server stops"))
            raise


async def _look(tx: DirectoryTx, batch: Sequence[Question]) -> list[Whereabouts]:
    keys = list({key for question in batch for key in (question.key, question.before)})
    rows = await tx.fetch(WHEREABOUTS, keys, list({question.prefix for question in batch if question.prefix}))
    found = {row["node_key"]: row for row in rows if row["node_key"]}
    refs = {key: ref_from_record(row) for key, row in found.items()}
    tailnets = {row["prefix"]: row["tailnet_id"] for row in rows if row["prefix"]}
    return [
        Whereabouts(
            auth_tailnet=tailnets.get(question.prefix),
            held=refs.get(question.key),
            held_before=refs.get(question.before),
            is_resting=question.key in found and found[question.key]["freed_at"] is not None,
        )
        for question in batch
    ]
