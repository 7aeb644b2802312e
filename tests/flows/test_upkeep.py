"""What time changes comes to pass in every tailnet, whatever the others are like."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from tests.registration import Device, Home, World, database_now, world

from headscale_saas.actions import presence, upkeep
from headscale_saas.tailnet.model import Settings

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
