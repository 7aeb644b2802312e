"""The database that `serve` brings along: starts anywhere, survives its own death, ends with its parent."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import psycopg
import pytest
from tests.waiting import hold_until

from headscale_saas.errors import Unavailable
from headscale_saas.postgres import EmbeddedPostgres
from headscale_saas.postgres.server import UNFINISHED

Start = Callable[..., EmbeddedPostgres]


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().split()[0])


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def answers(postgres: EmbeddedPostgres) -> bool:
    try:
        with psycopg.connect(postgres.dsn("postgres"), connect_timeout=5) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


@pytest.fixture
def state() -> Iterator[Path]:
    """Not pytest's directory, which only its owner may enter."""
    with tempfile.TemporaryDirectory(prefix="headscale-saas-test-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture
def start(state: Path) -> Iterator[Start]:
    with ExitStack() as running:

        def start_one(directory: Path | None = None) -> EmbeddedPostgres:
            postgres = EmbeddedPostgres(directory or state / "postgres", durable=False)
            running.callback(postgres.stop)
            postgres.start()
            return postgres

        yield start_one


def test_a_fresh_directory_becomes_a_database_that_strangers_cannot_open(start: Start) -> None:
    postgres = start()
    assert stat.S_IMODE(postgres.socket_dir.stat().st_mode) == 0o700
    with psycopg.connect(postgres.create_database("headscale")) as connection:
        shown = connection.execute(
            "SELECT current_setting('listen_addresses'), current_setting('server_encoding'), pg_backend_pid()"
        ).fetchone()
        assert shown
        assert shown[:2] == ("", "UTF8")
        assert Path(f"/proc/{shown[2]}").stat().st_uid != 0


async def test_the_dsn_is_one_asyncpg_takes(start: Start) -> None:
    connection = await asyncpg.connect(start().dsn("postgres"))
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


def test_creating_a_database_twice_is_creating_it_once(start: Start) -> None:
    postgres = start()
    assert postgres.create_database("once") == postgres.create_database("once")


def test_what_was_written_is_there_after_a_stop_and_a_start(start: Start) -> None:
    first = start()
    with psycopg.connect(first.create_database("kept")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    first.stop()
    with psycopg.connect(start().dsn("kept")) as connection:
        assert connection.execute("SELECT seven FROM kept").fetchone() == (7,)


def test_a_killed_server_comes_back(start: Start) -> None:
    postgres = start()
    killed = postmaster(postgres.data_dir)
    os.kill(killed, signal.SIGKILL)
    hold_until(lambda: answers(postgres) and postmaster(postgres.data_dir) != killed)
    assert postgres.is_ours


def test_a_second_process_uses_the_running_server_and_takes_over_when_it_ends(start: Start) -> None:
    first, second = start(), start()
    assert answers(second)
    assert not second.is_ours
    first.stop()
    hold_until(lambda: second.is_ours and answers(second))


def test_it_ends_with_a_parent_that_was_killed_and_starts_again_after_it(start: Start, state: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from headscale_saas.postgres import EmbeddedPostgres\n"
        "postgres = EmbeddedPostgres(Path(sys.argv[1])); postgres.start()\n"
        "print('up', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(state / "postgres")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert any(line == "up\n" for line in parent.stdout)
        child = postmaster(state / "postgres")
        parent.kill()
    hold_until(lambda: not is_alive(child))
    assert answers(start())


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_stop_it(start: Start) -> None:
    first = start()
    first.stop()
    (first.data_dir / "postmaster.pid").write_text(f"{os.getpid()}\n{first.data_dir}\n")
    assert answers(start())


def test_a_first_start_that_was_cut_short_is_begun_again(start: Start, state: Path) -> None:
    (state / "postgres/base").mkdir(parents=True, mode=0o700)
    (state / "postgres/PG_VERSION").write_text("18\n")
    (state / "postgres.lock").write_text(UNFINISHED)
    assert answers(start())
    assert not (state / "postgres.lock").read_text()


def test_a_deep_directory_has_its_socket_in_a_short_one(start: Start, state: Path) -> None:
    postgres = start(state / ("deep" * 25) / "postgres")
    assert answers(postgres)
    assert len(str(postgres.socket_dir)) < 80
    postgres.stop()
    assert not postgres.socket_dir.exists()


def test_data_of_another_major_version_is_refused_with_the_way_out(state: Path) -> None:
    data = state / "postgres"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(Unavailable, match=r"written by PostgreSQL 9.*pg_dumpall"):
        EmbeddedPostgres(data).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_where_its_user_may_not_enter_the_data_lives_elsewhere_behind_a_link(
    start: Start, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headscale_saas.postgres.owner.DATA", state / "elsewhere")
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    assert answers(start(closed / "postgres"))
    assert (closed / "postgres").readlink().parent == state / "elsewhere"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_programs_in_a_closed_place_are_copied_to_an_open_one(
    start: Start, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headscale_saas.postgres.owner.CACHE", state / "cache")
    monkeypatch.setattr(
        "headscale_saas.postgres.owner.may_enter", lambda directory, _: "site-packages" not in str(directory)
    )
    assert answers(start())
    assert list((state / "cache").glob("postgresql-*/*/*/bin/postgres"))
