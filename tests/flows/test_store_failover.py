"""A real standby takes over: we talk to primaries only, and caches learn that history may be another one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from headscale_saas.errors import Unavailable
from headscale_saas.postgres import EmbeddedPostgres
from headscale_saas.store import changelog, directory, migrate
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import ProcessNumber
from store_world import ADMIN, a_node, new_tailnet, process, put_node

PORT = 5432
OTHER_PORT = 5433
SECONDS = 60


class Pair:
    """A primary and its standby, in one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.primary = self._server()
        self.standby = home / "standby"

    def _server(self) -> EmbeddedPostgres:
        binaries = os.environ.get("HEADSCALE_SAAS_TEST_PG_BIN")
        return EmbeddedPostgres(
            self.home / "primary", binaries=Path(binaries) if binaries else None, durable=False
        )

    def start(self) -> None:
        """The standby begins as a copy of the primary at rest: not every build brings pg_basebackup."""
        self.primary.start()
        self.primary.stop()
        self._copy(self.primary.data_dir)
        self.primary = self._server()
        self.primary.start()
        sockets = f"-c unix_socket_directories={self.primary.socket_dir} -c listen_addresses="
        options = f"{sockets} -c port={OTHER_PORT} -c max_connections=200 -c fsync=off"
        self.run("pg_ctl", "-D", self.standby, "-o", options, "-l", self.standby / "log", "-w", "start")

    def _copy(self, data: Path) -> None:
        shutil.copytree(data, self.standby, ignore=shutil.ignore_patterns(".s.PGSQL.*"))
        (self.standby / "standby.signal").touch()
        with (self.standby / "postgresql.auto.conf").open("a") as conf:
            conf.write(f"primary_conninfo = 'host={self.primary.socket_dir} port={PORT} user=headscale'\n")
        if owner := self.primary.user:
            for path in (self.standby, *self.standby.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def promote(self) -> None:
        self.run("pg_ctl", "-D", self.standby, "-w", "promote")

    def stop(self) -> None:
        if (self.standby / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", self.standby, "-m", "immediate", "-w", "stop")
        self.primary.stop()

    def run(self, program: str, *arguments: str | Path) -> None:
        owner = self.primary.user
        as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
        subprocess.run(
            [self.primary._bin / program, *arguments],
            check=True, timeout=SECONDS, cwd="/", stdout=subprocess.DEVNULL, **as_owner,
        )  # fmt: skip

    def dsn(self, *ports: int) -> str:
        hosts = ",".join([str(self.primary.socket_dir)] * len(ports))
        return f"postgresql://headscale@/t?host={hosts}&port={','.join(map(str, ports))}"


@pytest.fixture
def pair() -> Iterator[Pair]:
    # Not pytest's directory: PostgreSQL does not run as root and could not enter it.
    home = Path(tempfile.mkdtemp(prefix="failover-"))
    home.chmod(0o777)
    pair = Pair(home)
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(home)


async def test_a_standby_takes_over(pair: Pair) -> None:
    pair.primary.create_database("t")
    migrate(pair.dsn(PORT))
    async with process(pair.dsn(PORT, OTHER_PORT)) as database:
        tailnet = await new_tailnet(database, "moved")
        await database.write(tailnet, ADMIN, lambda tx: put_node(tx, a_node(1)))
        async with database.feed([tailnet]) as feed:
            before = feed.identity
            assert await feed.fetchval("select current_setting('port')") == str(PORT)
            position = await feed.fetchval("select pg_current_wal_flush_lsn()::text")
        with pytest.raises(Unavailable):
            await Database.open(pair.dsn(OTHER_PORT))
        wait_for(pair, position)
        pair.primary.stop()
        pair.promote()

        async with database.feed([tailnet]) as feed:
            assert feed.identity != before
            assert feed.identity.partition("/")[0] == before.partition("/")[0]
            assert list((await changelog.load(feed, tailnet)).nodes) == [1]
        await database.write(tailnet, ADMIN, lambda tx: put_node(tx, a_node(2)))
        async with database.directory() as tx:
            assert await directory.versions(tx, [tailnet]) == {tailnet: 2}
            assert await directory.heartbeat(tx, ProcessNumber(database.process))


def wait_for(pair: Pair, position: str) -> None:
    """Until the standby has replayed everything up to this place in the log."""
    is_behind = f"pg_last_wal_replay_lsn() < '{position}'"
    query = f"do $$ begin while {is_behind} loop perform pg_sleep(0.01); end loop; end $$"
    limit = f"-c statement_timeout={SECONDS}s"
    with psycopg.connect(pair.dsn(OTHER_PORT), autocommit=True, options=limit) as standby:
        standby.execute(query)  # type: ignore[arg-type]
