"""A member cannot fill the audit log by what its device may do again and again."""

from datetime import timedelta

import pytest
from tests.registration import Device, Home, database_now, world

from headscale_saas.actions import repeats
from headscale_saas.actions.outcome import LoggedOut
from headscale_saas.actions.repeats import NODE_ROWS
from headscale_saas.observe import Ration
from headscale_saas.observe.ration import HOUR
from headscale_saas.swarm.client import LOGOUT

MANY = 3 * NODE_ROWS


class Hours:
    """A clock of which a test says what hour it is."""

    now = 0.0

    def __call__(self) -> float:
        return self.now * HOUR


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    clock = Hours()
    monkeypatch.setattr(repeats, "NODES", Ration(NODE_ROWS, clock, seconds=HOUR))
    monkeypatch.setattr(repeats, "EPHEMERAL", Ration(2 * NODE_ROWS, clock, seconds=HOUR))
    return clock


async def renew(home: Home, device: Device, key: str, times: int) -> None:
    for _ in range(times):
        device.rotate()
        await device.join(home.db, key)


async def test_registering_again_and_again_leaves_some_rows_and_their_number(
    database_dsn: str, hours: Hours
) -> None:
    async with world(database_dsn) as w:
        home, device, other = await w.home(), Device(), Device()
        key = await home.key(reusable=True)
        await device.join(home.db, key)
        await renew(home, device, key, MANY)
        rows = await home.audit("node.register")
        assert [row["result"] for row in rows] == ["created"] + (NODE_ROWS - 1) * ["renewed"]
        await other.join(home.db, key)
        assert len(await home.audit("node.register")) == NODE_ROWS + 1, "another device has its own share"
        hours.now = 1
        await renew(home, device, key, 2)
        later = (await home.audit("node.register"))[NODE_ROWS + 1 :]
        assert [row.get("left_out") for row in later] == [MANY + 1 - NODE_ROWS, None]


async def test_what_changes_nothing_leaves_no_row(database_dsn: str) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        key = await home.key(reusable=True)
        for _ in range(MANY):
            await device.join(home.db, key)
        assert len(await home.audit("node.register")) == 1


async def test_every_node_that_is_made_and_stays_has_its_row(database_dsn: str, hours: Hours) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key = await home.key(reusable=True)
        made = [await Device().join(home.db, key) for _ in range(MANY)]
        assert [row["target"] for row in await home.audit("node.register")] == [f"node {n.id}" for n in made]


async def test_nodes_that_come_and_go_share_the_rows_of_their_auth_key(
    database_dsn: str, hours: Hours
) -> None:
    async with world(database_dsn) as w:
        home = await w.home()
        key = await home.key(reusable=True, ephemeral=True)
        for _ in range(MANY):
            device = Device()
            await device.join(home.db, key)
            assert isinstance(await device.register(home.db, expiry=LOGOUT), LoggedOut)
        assert await home.nodes() == []
        for action in ("node.register", "node.logout"):
            assert len(await home.audit(action)) == 2 * NODE_ROWS
        await Device().join(home.db, await home.key(ephemeral=True))
        assert len(await home.audit("node.register")) == 2 * NODE_ROWS + 1, "another key has its own share"


async def test_an_expiry_that_comes_ever_earlier(database_dsn: str, hours: Hours) -> None:
    async with world(database_dsn) as w:
        home, device = await w.home(), Device()
        node = await device.join(home.db, await home.key())
        now = await database_now(home.db)
        for day in range(MANY):
            await device.join(home.db, expiry=now + timedelta(days=90 - day))
        assert (await home.node(node)).expires_at == now + timedelta(days=91 - MANY)
        assert len(await home.audit("node.shorten")) == NODE_ROWS
