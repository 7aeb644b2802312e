"""Brings a database to the schema this program knows: Alembic, one migrator at a time.

Steps only ever expand; what they replace is taken away a release later (docs/howto/write-a-migration.md). So
the schema may be newer than the program: `schema_version.compat_version` says the oldest schema number whose
programs still work on it.
"""

import threading
from pathlib import Path
from typing import Any

from headscale_saas.errors import Refused, Unavailable

SCHEMA_VERSION = 5
"""The number of the newest step in migrations/versions."""

LOCK = 0x68735F6D6967  # "hs_mig"
LOCK_TIMEOUT = "2s"
CONNECT_SECONDS = 10
MIGRATIONS = Path(__file__).parent / "migrations"

ALEMBIC = threading.Lock()
"""Alembic keeps its state in module globals."""

INSTALLED = "select version, compat_version from schema_version"


def migrate(dsn: str) -> None:
    """Makes the roles, then runs the steps that are missing; does nothing where none is.

    `dsn` must not lead through a transaction pooler. Raises Unavailable; Refused when the schema is too new,
    or when the user may not do it, with what to do.
    """
    # Alembic and SQLAlchemy are needed here only, and cost every start a quarter of a second.
    import psycopg  # noqa: PLC0415

    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as guard:
            guard.execute("select pg_advisory_lock(%s)", [LOCK])
            _migrate(dsn, guard)
    except psycopg.OperationalError as problem:
        raise Unavailable(f"the database cannot be migrated now: {str(problem).splitlines()[0]}") from None


def _migrate(dsn: str, guard: Any) -> None:
    from headscale_saas.store import roles  # noqa: PLC0415

    row = guard.execute("select to_regclass('schema_version')").fetchone()
    if row[0] is not None:
        version, compat = guard.execute(INSTALLED).fetchone()
        refuse_unknown(version, compat)
        if version >= SCHEMA_VERSION:
            return
    roles.ensure(guard)
    _upgrade(dsn)


def installed(dsn: str) -> tuple[int, int]:
    """The schema's number, and that of the oldest programs that work on it. (0, 0): there is none yet."""
    import psycopg  # noqa: PLC0415

    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS) as connection:
            version, compat = connection.execute(INSTALLED).fetchone() or (0, 0)
            return int(version), int(compat)
    except psycopg.errors.UndefinedTable:
        return 0, 0
    except psycopg.OperationalError as problem:
        raise Unavailable(f"the database does not answer: {str(problem).splitlines()[0]}") from None


def refuse_unknown(version: int, compat: int) -> None:
    """Raises Refused when programs of our schema no longer work on `version`."""
    if compat > SCHEMA_VERSION:
        raise Refused(
            f"the database has schema {version}, which needs a program of schema {compat} or newer;"
            f" this one knows schema {SCHEMA_VERSION}",
            code="schema_too_new",
        )


def refuse_old(version: int) -> None:
    """Raises Refused when a migration is due."""
    if version < SCHEMA_VERSION:
        raise Refused(
            f"the database has schema {version}, this program needs schema {SCHEMA_VERSION}: migrate first",
            code="schema_too_old",
        )


def _upgrade(dsn: str) -> None:
    import psycopg  # noqa: PLC0415
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import create_engine, pool  # noqa: PLC0415

    from headscale_saas.store.roles import OWNER  # noqa: PLC0415

    def connect() -> Any:
        return psycopg.connect(
            dsn, connect_timeout=CONNECT_SECONDS, options=f"-c lock_timeout={LOCK_TIMEOUT}"
        )

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=pool.NullPool)
    with ALEMBIC, engine.connect() as connection:
        connection.exec_driver_sql(f"set role {OWNER}")
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
