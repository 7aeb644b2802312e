"""`headscale apikeys`: the keys of the admin API."""

import click

from headscale_saas.cli.commands import Group, identifier
from headscale_saas.cli.messages import ApiKey
from headscale_saas.cli.output import moment
from headscale_saas.cli.session import Session, with_server
from headscale_saas.cli.times import after
from headscale_saas.errors import Invalid

COLUMNS = ("ID", "Prefix", "Expiration", "Created")

by_id = identifier("ID of the key.", required=False, long="--id")
by_prefix = click.option("-p", "--prefix", default="", help="Prefix of the key, as lists show it.")


@click.group("apikeys", cls=Group, aliases=("apikey", "api"))
def apikeys() -> None:
    """Manage the keys of the admin API."""


@apikeys.command("list", aliases=("ls", "show"))
@with_server
async def list_(session: Session) -> None:
    """List all keys, without their secrets."""
    found = await session.client.list_api_keys()
    session.printer.table(found, COLUMNS, map(_row, found))


def _row(key: ApiKey) -> tuple[str, ...]:
    return str(key.id), key.prefix, moment(key.expiration, "-"), moment(key.created_at)


@apikeys.command("create", aliases=("c", "new"))
@click.option("-e", "--expiration", default="90d", help="How long it is good: 30m, 24h, 90d (default 90d).")
@with_server
async def create(session: Session, expiration: str) -> None:
    """Create a key; it is shown this once."""
    key = await session.client.create_api_key(after(session.now, expiration))
    session.printer.result(key, key)


@apikeys.command("expire", aliases=("revoke", "exp", "e"))
@by_id
@by_prefix
@with_server
async def expire(session: Session, identifier: int | None, prefix: str) -> None:
    """Make a key useless."""
    _check(identifier, prefix)
    await session.client.expire_api_key(key=identifier or 0, prefix=prefix)
    session.printer.result({}, "Key expired")


@apikeys.command("delete", aliases=("remove", "del"))
@by_id
@by_prefix
@with_server
async def delete(session: Session, identifier: int | None, prefix: str) -> None:
    """Delete a key."""
    _check(identifier, prefix)
    await session.client.delete_api_key(key=identifier or 0, prefix=prefix)
    session.printer.result({}, "Key deleted")


def _check(identifier: int | None, prefix: str) -> None:
    if not identifier and not prefix:
        raise Invalid("either --id or --prefix must be provided")
    if identifier and prefix:
        raise Invalid("only one of --id or --prefix can be provided")
