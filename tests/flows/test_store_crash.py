"""The database crashes and comes back: what was told to anybody is still there.

A version is what caches compare. Were one forgotten, the next write would give its number again, to another
change, and whoever had the first would believe to have it.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.registration import CAPVER, Device, policy_of, world
from tests.waiting import until

from headscale_saas.actions import report
from headscale_saas.errors import Unavailable
from headscale_saas.postgres import EmbeddedPostgres
from headscale_saas.store import directory, migrate
from headscale_saas.tailcfg.maps import MapRequest

LAZY = {"wal_writer_delay": "10s"}
"""Commits that nobody waits for stay in memory for so long."""


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    """One that keeps its promises, unlike that of the other tests."""
    binaries = os.environ.get("HEADSCALE_SAAS_TEST_PG_BIN")
    # Not pytest's directory: PostgreSQL does not run as root and could not enter it.
    with tempfile.TemporaryDirectory(prefix="headscale-saas-crash-") as home:
        Path(home).chmod(0o711)
        postgres = EmbeddedPostgres(Path(home) / "postgres", binaries=Path(binaries) if binaries else None)
        postgres.settings = {**postgres.settings, **LAZY}
        postgres.start()
        yield postgres
        postgres.stop()


async def test_a_crash_forgets_no_version(postgres: EmbeddedPostgres) -> None:
    dsn = await asyncio.to_thread(postgres.create_database, "t")
    await asyncio.to_thread(migrate, dsn)
    async with world(dsn) as w:
        home, device = await w.home(), Device("web")
        node = await device.join(w.db, await home.key())
        async with w.db.directory() as tx:
            ref = await directory.node_of_key(tx, device.node_key)
        assert ref is not None
        moved = MapRequest(version=CAPVER, endpoints=("192.0.2.1:41641",), omit_peers=True)
        await report.report(w.db, policy_of, ref, moved)
        version = await home.version()
        _crash(dsn)

        async def is_back() -> bool:
            try:
                return await home.version() > 0
            except Unavailable:
                return False

        await until(is_back, within=60)
        assert await home.version() == version
        assert (await home.node(node)).endpoints == moved.endpoints


def _crash(dsn: str) -> None:
    """A backend that dies without a word makes the server start all of them again, from the disk."""
    with psycopg.connect(dsn) as victim, psycopg.connect(dsn) as witness:
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            witness.execute("select pg_sleep(60)")
