"""What every table of a tailnet must have, found from the catalogue: a new table cannot forget it."""

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from headscale_saas.store.directory import STATE_TABLES

Catalogue = psycopg.Connection[dict[str, Any]]

GLOBAL = {"clusters", "processes", "tailnets", "pending_logins", "noise_keys", "leases"}
RESERVATIONS = {"auth_key_prefixes", "api_key_prefixes", "node_keys", "machine_keys"}
BOOKKEEPING = {"alembic_version", "schema_version"}
APPEND_ONLY = {"changes", "audit"}
WALLED = {"tailnets"} | RESERVATIONS


@pytest.fixture
def catalogue(database_dsn: str) -> Any:
    with psycopg.connect(database_dsn, row_factory=dict_row) as connection:
        yield connection


def tables(catalogue: Catalogue) -> set[str]:
    rows = catalogue.execute("select tablename from pg_tables where schemaname = 'public'")
    return {row["tablename"] for row in rows}


def tailnet_tables(catalogue: Catalogue) -> set[str]:
    """Whatever is not named above is a tailnet's, and must be like one."""
    return tables(catalogue) - GLOBAL - RESERVATIONS - BOOKKEEPING


def columns(catalogue: Catalogue, table: str) -> set[str]:
    rows = catalogue.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0", [table]
    )
    return {row["attname"] for row in rows}


def test_every_row_says_whose_it_is_and_where(catalogue: Catalogue) -> None:
    for table in tailnet_tables(catalogue):
        assert {"tailnet_id", "cluster_id"} <= columns(catalogue, table), table


def test_the_tailnet_comes_first_in_every_key(catalogue: Catalogue) -> None:
    keys = catalogue.execute(
        "select i.indrelid::regclass::text, i.indexrelid::regclass::text as key, a.attname as first"
        " from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]"
        " where i.indisunique and i.indrelid::regclass::text = any(%s)"
        " union all select c.conrelid::regclass::text, c.conname, a.attname"
        " from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]"
        " where c.contype = 'f' and c.conrelid::regclass::text = any(%s)",
        [list(tailnet_tables(catalogue))] * 2,
    ).fetchall()
    assert keys
    assert [key for key in keys if key["first"] != "tailnet_id"] == []


def test_the_walls_stand(catalogue: Catalogue) -> None:
    walled = tailnet_tables(catalogue) | WALLED
    rows = catalogue.execute(
        "select relname, relrowsecurity and relforcerowsecurity as forced from pg_class"
        " where relname = any(%s) and relkind = 'r'",
        [list(walled)],
    ).fetchall()
    assert {row["relname"] for row in rows if row["forced"]} == walled
    policies = catalogue.execute("select tablename, roles::text[] from pg_policies").fetchall()
    expected = {(table, role) for table in walled for role in ("hs_app", "hs_feed", "hs_directory")}
    assert {(row["tablename"], *row["roles"]) for row in policies} == expected


def test_no_runtime_role_owns_or_bypasses_anything(catalogue: Catalogue) -> None:
    owners = catalogue.execute(
        "select distinct tableowner from pg_tables where schemaname = 'public'"
    ).fetchall()
    assert [row["tableowner"] for row in owners] == ["hs_owner"]
    rows = catalogue.execute(
        "select rolname from pg_roles where rolname like 'hs%' and (rolsuper or rolbypassrls or rolcanlogin)"
    )
    assert rows.fetchall() == []


def test_ordinary_roles_cannot_change_a_placement(catalogue: Catalogue) -> None:
    everywhere = [t for t in tables(catalogue) if "cluster_id" in columns(catalogue, t)]
    for table in everywhere:
        for role in ("hs_app", "hs_feed"):
            row = catalogue.execute(
                "select has_column_privilege(%s, %s, 'cluster_id', 'update') as may", [role, table]
            ).fetchone()
            assert row == {"may": False}, (role, table)


def test_append_only_rows_never_change(catalogue: Catalogue) -> None:
    for table in APPEND_ONLY:
        for role in ("hs_app", "hs_feed", "hs_directory"):
            row = catalogue.execute("select has_any_column_privilege(%s, %s, 'update') as may", [role, table])
            assert row.fetchone() == {"may": False}, (role, table)
        row = catalogue.execute("select has_table_privilege('hs_app', %s, 'delete') as may", [table])
        assert row.fetchone() == {"may": False}, table


def test_the_rows_that_a_move_takes_along_are_all_but_the_append_only(catalogue: Catalogue) -> None:
    rows = catalogue.execute(
        "select conrelid::regclass::text as table_name from pg_constraint where contype = 'f'"
        " and confrelid = 'tailnets'::regclass and condeferrable"
        " and array_length(conkey, 1) = 2"
    )
    placed = {row["table_name"] for row in rows}
    assert placed == set(STATE_TABLES) == tailnet_tables(catalogue) - APPEND_ONLY


def test_the_placement_is_never_indexed(catalogue: Catalogue) -> None:
    rows = catalogue.execute(
        "select i.indexrelid::regclass::text as key from pg_index i join pg_attribute a"
        " on a.attrelid = i.indrelid and a.attnum = any(i.indkey) where a.attname = 'cluster_id'"
        " and i.indrelid <> 'clusters'::regclass"
    )
    assert [row["key"] for row in rows] == ["tailnets_id_cluster_id_key"]


def test_nobody_else_has_rights(catalogue: Catalogue) -> None:
    rows = catalogue.execute(
        "select distinct grantee from information_schema.role_table_grants where table_schema = 'public'"
    )
    assert {row["grantee"] for row in rows} == {"hs_owner", "hs_app", "hs_feed", "hs_directory"}


def test_secrets_are_for_the_tailnet_alone(catalogue: Catalogue) -> None:
    for table in ("auth_keys", "api_keys"):
        for role in ("hs_feed", "hs_directory"):
            row = catalogue.execute(
                "select has_column_privilege(%s, %s, 'secret_hash', 'select') as may", [role, table]
            ).fetchone()
            assert row == {"may": False}
