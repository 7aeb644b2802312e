"""Shared by all tests: each coroutine test has an event loop of its own; each test that asks, a database.

The server is one for the whole run, also with several xdist workers: the controlling process starts it and
tells the workers where it is. Set HEADSCALE_SAAS_TEST_PG_BIN to a `bin` directory to test on another version.
"""

import inspect
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, settings
from tests import limits

from golden.summary import pytest_terminal_summary
from headscale_saas.postgres import EmbeddedPostgres

__all__ = ["pytest_terminal_summary"]

TEMPLATE = "template_headscale"
STATEMENT_SECONDS = 100
"""Of whoever sets no limit of its own: fixtures, and what a test looks up itself. It ends before the test."""
numbers = itertools.count(1)

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs `async def` tests, and ends them before pytest's limit would end everything."""
    test: Callable[..., Coroutine[Any, Any, None]] = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    mark = pyfuncitem.get_closest_marker("timeout")
    longest = float(mark.args[0] if mark else pyfuncitem.config.getini("timeout"))
    limits.run(test(**arguments), 0.8 * longest)
    return True


def in_memory() -> str | None:
    """Where a fresh database costs 15 ms instead of 180; None where there is little room."""
    has_room = Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > 2 << 30
    return "/dev/shm" if has_room else None


class TestServer:
    """A PostgreSQL in a directory of its own, started when first asked for."""

    __test__ = False

    def __init__(self) -> None:
        # Not pytest's directory, which only its owner may enter: PostgreSQL does not run as root.
        self.directory = Path(tempfile.mkdtemp(prefix="headscale-saas-test-", dir=in_memory()))
        self.directory.chmod(0o711)
        binaries = os.environ.get("HEADSCALE_SAAS_TEST_PG_BIN")
        self.postgres = EmbeddedPostgres(
            self.directory / "postgres", binaries=Path(binaries) if binaries else None, durable=False
        )
        self.postgres.start()
        with psycopg.connect(self.postgres.dsn("postgres"), autocommit=True) as admin:
            admin.execute(f"ALTER SYSTEM SET statement_timeout = '{STATEMENT_SECONDS}s'")
            admin.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        self.postgres.stop()
        shutil.rmtree(self.directory)


SERVER = pytest.StashKey[TestServer]()


def pytest_configure(config: pytest.Config) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        config.stash[SERVER] = TestServer()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: what the controlling process tells each worker."""
    node.workerinput["postgres"] = node.config.stash[SERVER].postgres.dsn("postgres")


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(SERVER, None):
        server.stop()


def to_database(dsn: str, name: str) -> str:
    return dsn.replace("@/postgres?", f"@/{name}?")


@pytest.fixture(scope="session")
def postgres_dsn(pytestconfig: pytest.Config) -> str:
    """A superuser's DSN of the running server's `postgres` database."""
    worker: dict[str, str] | None = getattr(pytestconfig, "workerinput", None)
    if worker:
        return worker["postgres"]
    if SERVER not in pytestconfig.stash:
        pytestconfig.stash[SERVER] = TestServer()
    return pytestconfig.stash[SERVER].postgres.dsn("postgres")


@pytest.fixture(scope="session")
def template(postgres_dsn: str) -> str:
    """The name of a migrated database that nobody writes to: made by the first worker that needs it."""
    from headscale_saas.store import migrate  # noqa: PLC0415 - only tests with a database need the store

    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(1)")
        ready = admin.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s AND datistemplate", [TEMPLATE]
        ).fetchone()
        if not ready:
            admin.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}")
            admin.execute(f"CREATE DATABASE {TEMPLATE}")
            migrate(to_database(postgres_dsn, TEMPLATE))
            admin.execute(f"ALTER DATABASE {TEMPLATE} IS_TEMPLATE true")
    return TEMPLATE


def fresh_database(postgres_dsn: str, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(numbers)}"
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        strategy = "STRATEGY file_copy" if admin.info.server_version >= 150000 else ""
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}")
        try:
            yield to_database(postgres_dsn, name)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_dsn(postgres_dsn: str, template: str) -> Iterator[str]:
    """A migrated database of the test's own; gone after it, with whatever is still connected."""
    yield from fresh_database(postgres_dsn, template)


@pytest.fixture
def empty_database_dsn(postgres_dsn: str) -> Iterator[str]:
    """A database of the test's own without any table: for tests of migrations."""
    yield from fresh_database(postgres_dsn, "template0")
