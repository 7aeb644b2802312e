"""Doorbells are heard by every process, and missing ones harm nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.store import changelog, directory, feed
from headscale_saas.store.feed import Doorbell, Listener, Rung
from headscale_saas.store.pool import Address
from headscale_saas.tailnet.model import TailnetId, Version
from store_world import ADMIN, a_node, new_tailnet, process, put_node


class Ear:
    """Collects what a listener hears; tests wait on it for a condition."""

    def __init__(self) -> None:
        self.heard: list[Rung] = []
        self._news = asyncio.Event()

    def __call__(self, rung: Rung) -> None:
        self.heard.append(rung)
        self._news.set()

    async def until(self, condition: Callable[[Rung], bool]) -> Rung:
        async with asyncio.timeout(20):
            while True:
                for rung in self.heard:
                    if condition(rung):
                        return rung
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def listening(dsn: str) -> AsyncIterator[Ear]:
    ear = Ear()
    task = asyncio.create_task(Listener(Address(dsn=dsn, name="ear"), ear).run())
    try:
        await ear.until(lambda rung: rung.deaf)
        yield ear
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_every_listener_hears_a_commit(database_dsn: str) -> None:
    bell = Doorbell(Address(dsn=database_dsn, name="bell"))
    async with (
        process(database_dsn) as database,
        listening(database_dsn) as one,
        listening(database_dsn) as two,
    ):
        database.on_commit = bell.ring
        tailnet = await new_tailnet(database, "heard")
        await database.write(tailnet, ADMIN, lambda tx: put_node(tx, a_node(1)))
        await one.until(lambda rung: tailnet in rung.versions)
        await two.until(lambda rung: tailnet in rung.versions)
        bell.ring_sessions(tailnet)
        bell.ring_logins()
        rung = await two.until(lambda rung: rung.logins)
        assert rung.sessions == {tailnet}
    await bell.close()


async def test_a_burst_is_one_payload(database_dsn: str) -> None:
    sent: list[str] = []
    bell = Doorbell(Address(dsn=database_dsn, name="bell"), drop=lambda payload: bool(sent.append(payload)))
    for version in range(1, 100):
        bell.ring(TailnetId(5), Version(version))
    await bell.close()
    assert sent == ["t5:99"]


async def test_a_listener_that_lost_its_connection_says_that_it_was_deaf(database_dsn: str) -> None:
    async with listening(database_dsn) as ear:
        ear.heard.clear()
        with psycopg.connect(database_dsn, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name = 'ear'"
            )
        await ear.until(lambda rung: rung.deaf)


async def test_a_silent_path_is_given_up(database_dsn: str, monkeypatch: object) -> None:
    # Nothing the listener says comes back to it, as behind a pooler: a connection that only looks well.
    listener = Listener(Address(dsn=database_dsn, name="ear"), lambda rung: None)
    listener._heard_at = asyncio.get_running_loop().time() - feed.DEAF_SECONDS

    class Open:
        def is_closed(self) -> bool:
            return False

    assert not listener._is_alive(Open())


async def test_a_doorbell_without_a_database_forgets(database_dsn: str) -> None:
    bell = Doorbell(Address(dsn=database_dsn.replace("@/test", "@/nowhere"), name="bell"))
    bell.ring(TailnetId(1), Version(1))
    await bell.close()


async def test_with_every_doorbell_lost_versions_still_tell(database_dsn: str) -> None:
    bell = Doorbell(Address(dsn=database_dsn, name="bell"), drop=lambda payload: True)
    async with process(database_dsn) as writer, process(database_dsn) as reader:
        writer.on_commit = bell.ring
        tailnet = await new_tailnet(writer, "silent")
        async with reader.feed([tailnet]) as tx:
            state = await changelog.load(tx, tailnet)
        await writer.write(tailnet, ADMIN, lambda tx: put_node(tx, a_node(1)))
        async with reader.directory() as poll:
            assert await directory.versions(poll, [tailnet]) == {tailnet: 1}
        async with reader.feed([tailnet]) as tx:
            moved = await changelog.catch_up(tx, state)
        assert moved
        assert list(moved.state.nodes) == [1]
    await bell.close()


tailnet_ids = st.integers(1, 2**62).map(TailnetId)


@given(
    versions=st.dictionaries(tailnet_ids, st.integers(0, 2**62).map(Version), max_size=500),
    sessions=st.sets(tailnet_ids, max_size=500),
    logins=st.booleans(),
)
def test_payloads_are_short_and_say_everything(
    versions: dict[TailnetId, Version], sessions: set[TailnetId], logins: bool
) -> None:
    payloads = feed.encode(versions, sessions, logins=logins)
    assert all(0 < len(payload) < 8000 for payload in payloads)
    rungs = [feed.decode(payload) for payload in payloads]
    assert {tailnet: version for rung in rungs for tailnet, version in rung.versions.items()} == versions
    assert frozenset().union(*(rung.sessions for rung in rungs)) == sessions
    assert any(rung.logins for rung in rungs) == logins


@given(st.text())
def test_strange_payloads_are_skipped(text: str) -> None:
    feed.decode(text)
