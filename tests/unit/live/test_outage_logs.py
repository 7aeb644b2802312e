"""While the database is away, the log does not grow with the number of tailnets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from headscale_saas.errors import Unavailable
from headscale_saas.live import presence as live_presence
from headscale_saas.live import takeovers
from headscale_saas.live.presence import Presence
from headscale_saas.live.takeovers import Takeovers
from headscale_saas.observe import Ration
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import NodeId, TailnetId

SHARE, TAILNETS = 3, 50


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (live_presence, takeovers):
        monkeypatch.setattr(module, "FAILURES", Ration(SHARE, lambda: 0.0), raising=False)
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.01, raising=False)
    monkeypatch.setattr(takeovers, "GATHER_SECONDS", 0.01)


class Away:
    @asynccontextmanager
    async def read(self, _: TailnetId) -> AsyncIterator[None]:
        raise Unavailable("the database does not answer")
        yield


async def away(*_: object) -> Mapping[NodeId, Any]:
    raise Unavailable("the database does not answer")


async def lines_of(run: Callable[[], Awaitable[None]], seconds: float = 0.5) -> list[str]:
    with capture_logs() as lines, suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await run()
    return [line["event"] for line in lines]


def connected() -> Presence:
    presence = Presence(away, cast(Any, away), lambda _: None)
    for number in range(TAILNETS):
        presence.started(TailnetId(number), NodeId(1), lambda: None)
    return presence


async def test_of_streams_that_cannot_be_reported() -> None:
    assert await lines_of(connected().run) == ["presence_not_reported"] * SHARE


async def test_of_streams_that_cannot_be_looked_up() -> None:
    looks = Takeovers(cast(Database, Away()), connected())
    looks.look_at_all()
    assert await lines_of(looks.run) == ["sessions_not_read"] * SHARE
