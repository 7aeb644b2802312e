"""The four roles. They belong to the whole PostgreSQL server, not to one database.

hs_owner      owns the tables; only migrations take it
hs_app        one tailnet at a time, through row-level security
hs_feed       reads several tailnets, through row-level security
hs_directory  what all tailnets share

Whatever user the DSN names, each transaction takes the role it needs (`SET LOCAL ROLE`), so that user must
be a member of them and nothing more.
"""

import time
from typing import Any

import asyncpg
import psycopg
from psycopg import errors as pg
from psycopg import sql

from headscale_saas.errors import Refused

OWNER = "hs_owner"
RUNTIME = ("hs_app", "hs_feed", "hs_directory")
ALL = (OWNER, *RUNTIME)

ATTEMPTS = 10
PAUSE_SECONDS = 0.05


def ensure(connection: psycopg.Connection[Any]) -> None:
    """Makes the roles that are missing and lets the current user take them. `connection` autocommits.

    Raises Refused with the statements to run, when the user may not.
    """
    try:
        _create_missing(connection)
        _grant_missing(connection)
        _let_owner_create(connection)
    except (pg.InsufficientPrivilege, pg.InvalidGrantOperation) as problem:
        raise Refused(advice(connection, str(problem).splitlines()[0]), code="roles_missing") from None


def advice(connection: psycopg.Connection[Any], reason: str) -> str:
    """What somebody with more rights has to run."""
    row = connection.execute("select quote_ident(current_user), quote_ident(current_database())").fetchone()
    assert row
    lines = [f"create role {role} nologin;" for role in _missing(connection)]
    lines.append(f"grant {', '.join(ALL)} to {row[0]};")
    lines.append(f"grant create on schema public to {OWNER};  -- in database {row[1]}")
    return f"the roles are not ready ({reason}); let an administrator run:\n" + "\n".join(lines)


def _missing(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute("select rolname from pg_roles where rolname = any(%s)", [list(ALL)])
    there = {row[0] for row in rows}
    return [role for role in ALL if role not in there]


def _create_missing(connection: psycopg.Connection[Any]) -> None:
    for role in _missing(connection):
        try:
            connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
        except (pg.DuplicateObject, pg.UniqueViolation):
            continue  # somebody who migrates another database was faster


def _grant_missing(connection: psycopg.Connection[Any]) -> None:
    # Since 16 being a member and being allowed to take the role are two things.
    right = "set" if connection.info.server_version >= 160000 else "member"
    for attempt in range(ATTEMPTS):
        rows = connection.execute(
            "select r from unnest(%s::text[]) r where not pg_has_role(current_user, r, %s)",
            [list(ALL), right],
        )
        lacking = [row[0] for row in rows]
        if not lacking:
            return
        try:
            roles = sql.SQL(", ").join(map(sql.Identifier, lacking))
            connection.execute(sql.SQL("grant {} to current_user").format(roles))
        except (pg.InternalError_, pg.UniqueViolation):
            # Two grants at once: "tuple concurrently updated".
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE_SECONDS)


def _let_owner_create(connection: psycopg.Connection[Any]) -> None:
    may = connection.execute("select has_schema_privilege(%s, 'public', 'create')", [OWNER]).fetchone()
    if may and not may[0]:
        connection.execute(f"grant create on schema public to {OWNER}")


async def check(connection: Any) -> None:
    """Refuses to start where the walls would not hold. `connection` (asyncpg) is in a transaction."""
    for role in RUNTIME:
        try:
            await connection.execute(f"set local role {role}")
        except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError):
            raise Refused(
                f"the database user cannot take the role {role}: if nothing served on this database yet,"
                " headscale serve makes the roles, or says how; else let an administrator run:"
                f" grant {', '.join(RUNTIME)} to <user>;",
                code="roles_missing",
            ) from None
        bypasses = await connection.fetchval(
            "select rolsuper or rolbypassrls from pg_roles where rolname = current_user"
        )
        if bypasses:
            raise Refused(
                f"the role {role} bypasses row-level security: alter role {role} nosuperuser nobypassrls;",
                code="roles_bypass",
            )
