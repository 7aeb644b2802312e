"""`headscale db`: the database under the service."""

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import click

from headscale_saas.cli.commands import Group
from headscale_saas.cli.session import current_line


@click.group("db", cls=Group)
def db() -> None:
    """Look after the database."""


@db.command("migrate")
def migrate() -> None:
    """Bring the database to the schema of this release."""
    from headscale_saas.cli.connect import find_dsn  # noqa: PLC0415 - only here is a database needed
    from headscale_saas.store.migrate import migrate as bring  # noqa: PLC0415 - nor the migrations

    config = current_line().config()
    bring(config.database.direct_dsn or find_dsn(config))
    current_line().printer.result({"Result": "Database migrated"}, "Database migrated")


@db.command("status")
def status() -> None:
    """Say which schema the database has, and whether this release works with it."""
    from headscale_saas.cli.connect import find_dsn  # noqa: PLC0415 - as above
    from headscale_saas.store.migrate import SCHEMA_VERSION, installed  # noqa: PLC0415 - as above

    config = current_line().config()
    version, oldest = installed(config.database.direct_dsn or find_dsn(config))
    needed = {"schema": version, "wanted": SCHEMA_VERSION, "oldest_program": oldest}
    text = f"schema {version}, this release has {SCHEMA_VERSION}: "
    current_line().printer.result(needed, text + _advice(version, oldest, SCHEMA_VERSION))
    if version < SCHEMA_VERSION or oldest > SCHEMA_VERSION:
        raise click.exceptions.Exit(1)


def _advice(version: int, oldest: int, wanted: int) -> str:
    if version < wanted:
        return "run headscale db migrate"
    return "it needs a newer release" if oldest > wanted else "good"


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
