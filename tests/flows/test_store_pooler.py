"""Through a real PgBouncer in transaction mode: everything works, and what needs a session is not needed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from tests.waiting import hold_until

from headscale_saas.store import changelog, directory
from headscale_saas.store.feed import Doorbell
from headscale_saas.store.pool import Address
from headscale_saas.store.transactions import TailnetTx
from store_world import ADMIN, a_node, new_tailnet, process, put_node

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
START_SECONDS = 10

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


@pytest.fixture
def pooled_dsn(database_dsn: str) -> Iterator[str]:
    """The test's database through two server connections that all clients share."""
    parts = urlsplit(database_dsn)
    server = parse_qs(parts.query)["host"][0]
    user = database_dsn.partition("//")[2].partition("@")[0]
    directory = Path(tempfile.mkdtemp(prefix="pooler-"))
    (directory / "users").write_text(f'"{user}" ""\n')
    (directory / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server}\n[pgbouncer]\nunix_socket_dir = {directory}\nlisten_port = 6543\n"
        f"listen_addr =\nauth_type = trust\nauth_file = {directory}/users\npool_mode = transaction\n"
        "default_pool_size = 2\nmax_client_conn = 100\n"
    )
    if os.geteuid() == 0:  # it does not run as root, and the server's socket is its owner's
        owner = pwd.getpwuid(Path(server).stat().st_uid)
        for path in (directory, *directory.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    else:
        owner = pwd.getpwuid(os.geteuid())
    assert PGBOUNCER
    log = (directory / "log").open("wb")
    child = subprocess.Popen(
        [PGBOUNCER, directory / "pgbouncer.ini"],
        user=owner.pw_uid, group=owner.pw_gid, extra_groups=[], stdout=log, stderr=log,
    )  # fmt: skip
    dsn = f"postgresql://{user}@{parts.path}?host={directory}&port=6543"
    try:
        hold_until(lambda: answers(dsn), within=START_SECONDS)
        yield dsn
    finally:
        child.terminate()
        child.wait(START_SECONDS)
        log.close()
        shutil.rmtree(directory)


def answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


async def test_a_tailnet_lives_behind_a_pooler(pooled_dsn: str) -> None:
    bell = Doorbell(Address(dsn=pooled_dsn, name="bell", pooler=True))
    async with (
        process(pooled_dsn, pooler=True) as one,
        process(pooled_dsn, pooler=True) as two,
    ):
        one.on_commit = bell.ring
        tailnets = [await new_tailnet(one, f"pooled{number}") for number in range(3)]
        for number in range(1, 13):

            async def verb(tx: TailnetTx, number: int = number) -> None:
                await put_node(tx, a_node(number))
                tx.audit("node.put", str(number))

            await (one, two)[number % 2].write(tailnets[number % 3], ADMIN, verb)
        async with two.directory() as tx:
            assert await directory.versions(tx, tailnets) == dict.fromkeys(tailnets, 4)
        for tailnet in tailnets:
            async with one.feed([tailnet]) as feed:
                assert len((await changelog.load(feed, tailnet)).nodes) == 4
                assert await feed.fetchval("select count(*) from nodes") == 4
    await bell.close()
