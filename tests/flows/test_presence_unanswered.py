"""Streams of which a process was not told whether the database admitted them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
from tests.registration import Device, World, database_now, settle, world
from tests.waiting import until

from headscale_saas.actions import presence
from headscale_saas.actions.presence import GRACE, Admitted
from headscale_saas.live import presence as live_presence
from headscale_saas.live.presence import Presence, Stream
from headscale_saas.store.constraints import OutcomeUnknown
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import Node, NodeId, TailnetId


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_presence, "RETRY_SECONDS", 0.2)


class Unheard:
    """Admits, but its first answers get lost."""

    def __init__(self, db: Database, lost: int) -> None:
        self._db = db
        self.lost: list[Mapping[NodeId, Admitted]] = []
        self._most = lost

    async def admit(self, tailnet: TailnetId, nodes: Sequence[NodeId]) -> Mapping[NodeId, Admitted]:
        admitted = await presence.admit(self._db, self._db.process, tailnet, nodes)
        if len(self.lost) < self._most:
            self.lost.append(admitted)
            raise OutcomeUnknown("the answer was lost")
        return admitted


@asynccontextmanager
async def unheard(w: World, lost: int = 1) -> AsyncIterator[tuple[Presence, Unheard]]:
    answers = Unheard(w.db, lost)
    here = Presence(answers.admit, partial(presence.ended, w.db), lambda _: None)
    task = asyncio.create_task(here.run())
    try:
        yield here, answers
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def unanswered(here: Presence, answers: Unheard, tailnet: TailnetId, node: Node) -> Stream:
    """A stream whose admission is in the database, and nobody here knows."""
    stream = here.started(tailnet, node.id, lambda: None)
    await until(lambda: answers.lost)
    return stream


async def test_one_that_left_before_it_was_asked_for_again_goes_offline(database_dsn: str) -> None:
    async with world(database_dsn) as w, unheard(w) as (here, answers):
        home = await w.home()
        node = await Device().join(w.db, await home.key())
        here.stopped(await unanswered(here, answers, home.id, node))
        await here.flush(5)
        assert await settle(w.db, await database_now(w.db) + GRACE) == 1
        assert not (await home.node(node)).online


async def test_one_that_stays_is_admitted_again_and_ends_once(database_dsn: str) -> None:
    async with world(database_dsn) as w, unheard(w, 2) as (here, answers):
        home = await w.home()
        node = await Device().join(w.db, await home.key())
        stream = await unanswered(here, answers, home.id, node)
        await until(lambda: stream.token)
        assert await settle(w.db, await database_now(w.db) + GRACE) == 0
        here.stopped(stream)
        await here.flush(5)
        assert await settle(w.db, await database_now(w.db) + GRACE) == 1


async def test_its_end_hides_no_newer_stream_here_or_elsewhere(database_dsn: str) -> None:
    async with world(database_dsn, processes=2) as w, unheard(w) as (here, answers):
        home = await w.home()
        moved, back = [await Device().join(w.db, await home.key()) for _ in range(2)]
        for node in (moved, back):
            first = here.started(home.id, node.id, lambda: None)
            await until(lambda: answers.lost)
            if node is back:
                here.started(home.id, node.id, lambda: None)
            else:
                there = w.processes[1]
                await presence.admit(there, there.process, home.id, [node.id])
            here.stopped(first)
            await here.flush(5)
            answers.lost.clear()
        assert await settle(w.db, await database_now(w.db) + GRACE) == 0
        assert all([(await home.node(node)).online for node in (moved, back)])
