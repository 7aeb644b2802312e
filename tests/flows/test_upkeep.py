"""What time changes comes to pass in every tailnet, whatever the others are like."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from tests.registration import Device, Home, World, database_now, world
from tests.service import House, Running, service
from tests.waiting import until

from headscale_saas.actions import presence, upkeep
from headscale_saas.store.heartbeat import Steadiness
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, Settings, TailnetId

HOUR = timedelta(hours=1)


@contextmanager
def busy(dsn: str, home: Home) -> Iterator[None]:
    """Somebody holds the tailnet's row, as a long write does."""
    with psycopg.connect(dsn) as holder:
        holder.execute("select from tailnets where id = %s for update", [home.id])
        yield


async def gone(w: World, home: Home) -> None:
    """A node that is shown online, though its stream has ended."""
    node = await Device().join(w.db, await home.key())
    admitted = await presence.admit(w.db, w.db.process, home.id, [node.id])
    await presence.ended(w.db, home.id, {node.id: admitted[node.id].token})


async def test_a_busy_tailnet_does_not_keep_the_others_waiting(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        settings = Settings(node_expiry=HOUR)
        homes = [await w.home(name, settings) for name in ("first", "second", "third")]
        for home in homes:
            await gone(w, home)
        with busy(database_dsn, homes[1]):
            assert await upkeep.run_once(w.db, await database_now(w.db) + 2 * HOUR)
        for home in (homes[0], homes[2]):
            (node,) = await home.nodes()
            assert not node.online
            assert node.expired
        (waiting,) = await homes[1].nodes()
        assert waiting.online
        assert not waiting.expired


async def test_more_tailnets_than_a_round_takes_have_their_turn(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MOST_TAILNETS", 1)
    async with world(database_dsn) as w:
        patient = await w.home("patient", Settings(ephemeral_timeout=1000 * HOUR))
        hasty = await w.home("hasty")
        for home in (patient, hasty):
            await Device().join(w.db, await home.key(ephemeral=True))
        now = await database_now(w.db) + HOUR
        for _ in range(40):
            await upkeep.run_once(w.db, now, sweep=False)
            if not await hasty.nodes():
                break
        assert not await hasty.nodes()
        assert len(await patient.nodes()) == 1


async def test_a_tailnet_is_left_alone_until_its_ephemeral_nodes_may_be_due(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(database_dsn) as w:
        home = await w.home(settings=Settings(ephemeral_timeout=HOUR))
        await Device().join(w.db, await home.key(ephemeral=True))
        now, not_before, written = await database_now(w.db), upkeep.NotBefore(), []
        write = w.db.write

        async def noted(tailnet: TailnetId, actor: Actor, verb: Callable[[TailnetTx], Awaitable[int]]) -> int:
            written.append(tailnet)
            return await write(tailnet, actor, verb)

        monkeypatch.setattr(w.db, "write", noted)

        async def is_looked_at(after: timedelta) -> bool:
            written.clear()
            await upkeep.run_once(w.db, now + after, sweep=False, not_before=not_before)
            return bool(written)

        assert await is_looked_at(timedelta())
        assert not await is_looked_at(upkeep.NOT_YET / 2)
        assert await is_looked_at(upkeep.NOT_YET * 2), "its admin may have made the time shorter"
        assert await is_looked_at(2 * HOUR)
        assert not await home.nodes()
        assert not await is_looked_at(3 * HOUR)
        assert not not_before


async def test_who_was_deaf_itself_declares_nobody_dead(database_dsn: str) -> None:
    """When the database comes back, somebody beats first; the others were as silent as it was."""
    async with service(database_dsn, workers=2) as house:
        judge, silent = house.workers
        await house.sql(
            "update leases set process = $1, held_until = now() + interval '10 s'", judge.database.process
        )
        judge.worker._heartbeat._steady = Steadiness()
        silent.worker._heartbeat.stop()
        await house.sql(
            "update processes set heartbeat_at = now() - interval '20 s' where number = $1",
            silent.database.process,
        )
        await a_round(house, judge)
        assert await is_alive(house, silent)
        await until(lambda: judge.worker._heartbeat.is_steady, within=15)
        await a_round(house, judge)
        assert not await is_alive(house, silent)


async def a_round(house: House, of: Running) -> None:
    """Waits for a whole round of upkeep of this worker."""
    last = datetime.min.replace(tzinfo=UTC)

    async def is_renewed() -> bool:
        nonlocal last
        found = await house.sql("select held_until from leases where process = $1", of.database.process)
        before, last = last, max((row["held_until"] for row in found), default=last)
        return last > before

    for _ in range(3):  # the first may have been there, the second may have begun before
        await until(is_renewed)


async def is_alive(house: House, running: Running) -> bool:
    sql = "select 1 from processes where number = $1 and dead_at is null"
    return bool(await house.sql(sql, running.database.process))


def test_who_has_not_heard_itself_for_a_while_is_no_judge() -> None:
    """The database is back, and our own first beat is not through yet: what was before says nothing."""
    now = [0.0]
    steadiness = Steadiness(lambda: now[0])
    for second in range(0, 12, 2):
        now[0] = second
        steadiness.beat(1000.0 + second)
    assert steadiness.is_enough
    now[0] += 15
    assert not steadiness.is_enough
    steadiness.beat(1025.0)
    assert not steadiness.is_enough


@pytest.mark.parametrize(
    ("beats", "is_enough"),
    [
        ([], False),
        ([100.0], False),
        ([100.0, 102.0, 104.0, 106.0], False),
        ([100.0, 102.0, 104.0, 106.0, 108.0], True),
        ([100.0, 102.0, 104.0, 108.5, 110.5, 112.5, 114.5], False),
        ([0.0, 2.0, 4.0, 6.0, 8.0, 100.0], False),
    ],
)
def test_only_beats_without_a_gap_make_a_judge(beats: list[float], is_enough: bool) -> None:
    steadiness = Steadiness()
    for beat in beats:
        steadiness.beat(beat)
    assert steadiness.is_enough is is_enough
