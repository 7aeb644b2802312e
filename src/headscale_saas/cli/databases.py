"""`headscale db`: the database under the service."""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import click
import msgspec

from headscale_saas.cli.commands import Group
from headscale_saas.cli.output import clean
from headscale_saas.cli.session import current_line
from headscale_saas.errors import Unavailable

if TYPE_CHECKING:
    from headscale_saas.actions.stored_policies import Inspection

STATUS_SECONDS = 600.0
MIGRATE_SECONDS = 60.0
"""How long the policies of all tailnets are looked at; a large one takes some 6 ms."""
NOT_SERVED = "these tailnets are not served until an admin sets another one"


@click.group("db", cls=Group)
def db() -> None:
    """Look after the database."""


@db.command("migrate")
def migrate() -> None:
    """Bring the database to the schema of this release."""
    from headscale_saas.store.migrate import installed  # noqa: PLC0415 - only for these commands
    from headscale_saas.store.migrate import migrate as bring  # noqa: PLC0415 - as above

    dsn = _dsn()
    before = _troubles_before(dsn)
    _warn(before)
    bring(dsn)
    after = _inspection(dsn, *installed(dsn), seconds=MIGRATE_SECONDS)
    _warn(line for line in _troubles(after) if line not in before)
    current_line().printer.result({"Result": "Database migrated"}, "Database migrated")


@db.command("status")
def status() -> None:
    """Say whether this release fits the database. That is its schema, and the policies stored in it."""
    from headscale_saas.store.migrate import SCHEMA_VERSION, installed  # noqa: PLC0415 - as above

    dsn = _dsn()
    version, oldest = installed(dsn)
    found = _inspection(dsn, version, oldest, seconds=STATUS_SECONDS)
    said = {"schema": version, "wanted": SCHEMA_VERSION, "oldest_program": oldest}
    text = f"schema {version}, this release has {SCHEMA_VERSION}: {_advice(version, oldest, SCHEMA_VERSION)}"
    current_line().printer.result(_with_policies(said, found), "\n".join([text, *_troubles(found)]))
    if version < SCHEMA_VERSION or oldest > SCHEMA_VERSION or found.refused or found.unchecked:
        raise click.exceptions.Exit(1)


def _dsn() -> str:
    from headscale_saas.cli.connect import find_dsn  # noqa: PLC0415 - only here is a database needed

    config = current_line().config()
    return config.database.direct_dsn or find_dsn(config)


def _advice(version: int, oldest: int, wanted: int) -> str:
    if version < wanted:
        return "run headscale db migrate"
    return "it needs a newer release" if oldest > wanted else "good"


def _inspection(dsn: str, schema: int, oldest: int, *, seconds: float) -> "Inspection":
    from headscale_saas.actions.stored_policies import NOTHING, inspect  # noqa: PLC0415 - as above
    from headscale_saas.store.migrate import SCHEMA_VERSION  # noqa: PLC0415 - as above

    return inspect(dsn, seconds=seconds) if schema and oldest <= SCHEMA_VERSION else NOTHING


def _troubles_before(dsn: str) -> list[str]:
    """What is not ready to be read before a migration may be after it."""
    from headscale_saas.store.migrate import installed  # noqa: PLC0415 - as above

    try:
        return _troubles(_inspection(dsn, *installed(dsn), seconds=MIGRATE_SECONDS))
    except Unavailable as problem:
        return [problem.message]


def _with_policies(said: dict[str, int], found: "Inspection") -> dict[str, object]:
    first = [msgspec.to_builtins(one) for one in found.first]
    counts = {"policies": found.policies, "policies_unchecked": found.unchecked}
    return {**said, **counts, "policies_refused": found.refused, "refused": first}


def _troubles(found: "Inspection") -> list[str]:
    """A line each; the first says what the others are."""
    lines = []
    if found.refused:
        lines = [
            f"{found.refused} of {found.policies} policies are not understood by this release: {NOT_SERVED}"
        ]
        lines += [f"tailnet {one.name}: {clean(one.reason)}" for one in found.first]
        left = found.refused - len(found.first)
        lines += [f"and {left} more"] if left else []
    if found.unchecked:
        lines.append(f"{found.unchecked} policies were not looked at: there are too many")
    return lines


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        current_line().printer.note(f"Warning: {line}")


@db.command("url")
@click.option("--show-password", is_flag=True, help="Do not hide the password.")
def url(show_password: bool) -> None:
    """Print the URL of the database, for psql and pg_dump."""
    from headscale_saas.cli.connect import find_dsn  # noqa: PLC0415 - as above

    dsn = find_dsn(current_line().config())
    text = dsn if show_password else without_password(dsn)
    current_line().printer.result({"url": text}, text)


def without_password(dsn: str) -> str:
    """The password may be before the host or in the query."""
    parts = urlsplit(dsn)
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    query = [(key, "***" if key == "password" else value) for key, value in parse_qsl(parts.query)]
    hidden = parts._replace(
        netloc=f"{user}:***@{host}" if colon else f"{login}{at}{host}",
        query=urlencode(query, quote_via=quote, safe="*"),
    )
    if hidden.netloc:
        return urlunsplit(hidden)
    return f"{hidden.scheme}://{urlunsplit(hidden._replace(scheme=''))}"  # the library drops an empty netloc
