"""`headscale auth`: logins that wait for a person."""

import click

from headscale_saas.cli.commands import Group
from headscale_saas.cli.session import Session, with_server
from headscale_saas.errors import Invalid

by_auth_id = click.option("--auth-id", required=True, help="The id that the device was shown.")


@click.group("auth", cls=Group)
def auth() -> None:
    """Let devices in, or turn them away."""


@auth.command("register")
@click.option("-u", "--user", required=True, help="Name of the user who will own the node.")
@by_auth_id
@with_server
async def register(session: Session, user: str, auth_id: str) -> None:
    """Let the waiting device in as a node of the user."""
    node = await session.client.approve_login(user, auth_id)
    session.printer.result(node, f"Node {node.given_name} registered")


@auth.command("approve")
@click.option("-u", "--user", default="", help="Name of the user who will own the node.")
@by_auth_id
@with_server
async def approve(session: Session, user: str, auth_id: str) -> None:
    """Approve a request that waits for it."""
    if not user:
        raise Invalid("a device that logs in needs an owner: add --user")
    await session.client.approve_login(user, auth_id)
    session.printer.result({}, "Auth request approved")


@auth.command("reject")
@by_auth_id
@with_server
async def reject(session: Session, auth_id: str) -> None:
    """Turn the waiting device away."""
    await session.client.reject_login(auth_id)
    session.printer.result({}, "Auth request rejected")
