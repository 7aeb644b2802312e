"""`headscale preauthkeys`: the keys that nodes join with."""

import click

from headscale_saas.cli.commands import Group, identifier, words
from headscale_saas.cli.messages import PreAuthKey
from headscale_saas.cli.output import Cell, clean, lines, moment, yes_or_no
from headscale_saas.cli.session import Session, with_server
from headscale_saas.cli.times import after
from headscale_saas.errors import Invalid, NotFound

COLUMNS = ("ID", "Key/Prefix", "Reusable", "Ephemeral", "Used", "Expiration", "Created", "Owner")

by_id = identifier("ID of the key.", required=False, long="--id")


@click.group("preauthkeys", cls=Group, aliases=("preauthkey", "authkey", "pre"))
def preauthkeys() -> None:
    """Manage the keys that nodes join with."""


@preauthkeys.command("list", aliases=("ls", "show"))
@with_server
async def list_(session: Session) -> None:
    """List all keys, without their secrets."""
    found = await session.client.list_auth_keys()
    session.printer.table(found, COLUMNS, map(_row, found))


def _row(key: PreAuthKey) -> tuple[Cell, ...]:
    owner = lines(key.acl_tags) if key.acl_tags else clean(key.user.name) if key.user else "-"
    flags = (yes_or_no(key.reusable), yes_or_no(key.ephemeral), yes_or_no(key.used))
    return (str(key.id), key.key, *flags, moment(key.expiration, "-"), moment(key.created_at), owner)


@preauthkeys.command("create", aliases=("c", "new"))
@click.option("--reusable", is_flag=True, help="Many nodes may join with it.")
@click.option("--ephemeral", is_flag=True, help="Nodes that join with it are removed when they are gone.")
@click.option("-e", "--expiration", default="1h", help="How long it is good: 30m, 24h, 90d (default 1h).")
@click.option("--tags", callback=words, multiple=True, help="Tags that nodes get.")
@click.option("-u", "--user", default="", help="ID (or name) of the user who will own the nodes.")
@with_server
async def create(
    session: Session, reusable: bool, ephemeral: bool, expiration: str, tags: list[str], user: str
) -> None:
    """Create a key; stdout holds the key and nothing else."""
    made = await session.client.create_auth_key(
        user=await _user_id(session, user),
        reusable=reusable,
        ephemeral=ephemeral,
        expiration=after(session.now, expiration),
        tags=tags,
    )
    session.printer.result(made, made.key)


async def _user_id(session: Session, user: str) -> int:
    """A number is an id, as in headscale; anything else is a name."""
    if not user or (user.isascii() and user.isdigit() and len(user) < 19):
        return int(user or 0)
    found = await session.client.list_users(name=user)
    if not found:
        raise NotFound(f'looking up user: user not found: "{user}"')
    return found[0].id


@preauthkeys.command("expire", aliases=("revoke", "exp", "e"))
@by_id
@with_server
async def expire(session: Session, identifier: int | None) -> None:
    """Revoke a key: nobody joins with it any more."""
    await session.client.expire_auth_key(_given(identifier))
    session.printer.result({}, "Key expired")


@preauthkeys.command("delete", aliases=("del", "rm", "d"))
@by_id
@with_server
async def delete(session: Session, identifier: int | None) -> None:
    """Delete a key; nodes that joined with it stay."""
    await session.client.delete_auth_key(_given(identifier))
    session.printer.result({}, "Key deleted")


def _given(identifier: int | None) -> int:
    if not identifier:
        raise Invalid("missing --id parameter")
    return identifier
