"""`headscale users`."""

import click

from headscale_saas.cli.commands import Group, identifier
from headscale_saas.cli.messages import User
from headscale_saas.cli.output import clean, moment
from headscale_saas.cli.session import Session, with_server
from headscale_saas.errors import Conflict, Invalid, NotFound

COLUMNS = ("ID", "Name", "Username", "Email", "Created")

by_id = identifier("ID of the user.", required=False)
by_name = click.option("-n", "--name", default="", help="Name of the user.")


@click.group("users", cls=Group, aliases=("user",))
def users() -> None:
    """Manage the users of a tailnet."""


@users.command("create", aliases=("c", "new"))
@click.argument("name")
@click.option("-d", "--display-name", default="", help="Display name.")
@click.option("-e", "--email", default="", help="E-mail address.")
@click.option("-p", "--picture-url", default="", help="URL of a picture.")
@with_server
async def create(session: Session, name: str, display_name: str, email: str, picture_url: str) -> None:
    """Create a user."""
    made = await session.client.create_user(
        name, display_name=display_name, email=email, picture_url=picture_url
    )
    session.printer.result(made, "User created")


@users.command("list", aliases=("ls", "show"))
@by_id
@by_name
@click.option("-e", "--email", default="", help="E-mail address of the user.")
@with_server
async def list_(session: Session, identifier: int | None, name: str, email: str) -> None:
    """List users: all, or those that fit."""
    found = await session.client.list_users(user=identifier or 0, name=name, email=email)
    session.printer.table(found, COLUMNS, map(_row, found))


def _row(user: User) -> tuple[str, ...]:
    words = (str(user.id), user.display_name, user.name, user.email, moment(user.created_at))
    return tuple(map(clean, words))


@users.command("destroy", aliases=("delete",))
@by_id
@by_name
@with_server
async def destroy(session: Session, identifier: int | None, name: str) -> None:
    """Delete a user and its auth keys."""
    user = await _only(session, identifier, name)
    question = f'Do you want to remove the user "{clean(user.name)}" ({user.id}) and its auth keys?'
    if not session.line.confirm(question):
        session.printer.result({"Result": "User not destroyed"}, "User not destroyed")
        return
    await session.client.delete_user(user.id)
    session.printer.result({}, "User destroyed")


@users.command("rename", aliases=("mv",))
@by_id
@by_name
@click.option("-r", "--new-name", required=True, help="The new name.")
@with_server
async def rename(session: Session, identifier: int | None, name: str, new_name: str) -> None:
    """Give a user another name."""
    user = await _only(session, identifier, name)
    session.printer.result(await session.client.rename_user(user.id, new_name), "User renamed")


async def _only(session: Session, identifier: int | None, name: str) -> User:
    """The one user that the flags mean."""
    if identifier is None and not name:
        raise Invalid("--name or --identifier flag is required")
    found = await session.client.list_users(user=identifier or 0, name="" if identifier else name)
    if identifier == 0 or not found:
        raise NotFound("user not found")
    if len(found) > 1:
        raise Conflict("multiple users match query, specify an ID")
    return found[0]
