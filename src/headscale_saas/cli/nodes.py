"""`headscale nodes`."""

import base64
from datetime import datetime

import click

from headscale_saas.cli.commands import Group, identifier, words
from headscale_saas.cli.messages import Node
from headscale_saas.cli.output import Cell, bad, clean, good, lines, moment, yes_or_no
from headscale_saas.cli.session import Session, with_server
from headscale_saas.cli.times import moment_of
from headscale_saas.errors import Invalid

COLUMNS = (
    "ID", "Hostname", "Name", "MachineKey", "NodeKey", "User", "Tags", "IP addresses", "Ephemeral",
    "Last seen", "Expiration", "Connected", "Expired",
)  # fmt: skip
ROUTE_COLUMNS = ("ID", "Hostname", "Approved", "Available", "Serving (Primary)")

by_id = identifier("ID of the node.")


@click.group("nodes", cls=Group, aliases=("node",))
def nodes() -> None:
    """Manage the nodes of a tailnet."""


@nodes.command("list", aliases=("ls", "show"))
@click.option("-u", "--user", default="", help="Only those of this user.")
@with_server
async def list_(session: Session, user: str) -> None:
    """List nodes."""
    found, now = await session.client.list_nodes(user=user), session.now
    session.printer.table(found, COLUMNS, (_row(node, now) for node in found))


def _row(node: Node, now: datetime) -> tuple[Cell, ...]:
    has_expired = node.expiry is not None and node.expiry.as_datetime() <= now
    return (
        str(node.id),
        clean(node.name),
        node.given_name,
        short(node.machine_key),
        short(node.node_key),
        clean(node.user.name) if node.user else "",
        lines(node.tags),
        lines(node.ip_addresses),
        yes_or_no(node.pre_auth_key is not None and node.pre_auth_key.ephemeral),
        moment(node.last_seen),
        moment(node.expiry),
        good("online") if node.online else bad("offline"),
        bad("yes") if has_expired else good("no"),
    )


def short(key: str) -> str:
    """The form in which clients print keys: `[abcde]`."""
    raw = bytes.fromhex(key.partition(":")[2])
    return f"[{base64.b64encode(raw).decode()[:5]}]" if any(raw) else ""


@nodes.command("list-routes", aliases=("lsr", "routes"))
@identifier("Only of the node with this ID.", required=False)
@with_server
async def list_routes(session: Session, identifier: int | None) -> None:
    """List nodes that announce or may serve routes."""
    found = (
        await session.client.list_nodes() if not identifier else [await session.client.get_node(identifier)]
    )
    routers = [node for node in found if node.approved_routes or node.available_routes or node.subnet_routes]
    session.printer.table(
        routers,
        ROUTE_COLUMNS,
        (
            (
                str(node.id),
                clean(node.name),
                lines(node.approved_routes),
                lines(node.available_routes),
                lines(node.subnet_routes),
            )
            for node in routers
        ),
    )


@nodes.command("register")
@click.option("-u", "--user", required=True, help="Name of the user who will own the node.")
@click.option("-k", "--key", required=True, help="The id that the device was shown.")
@with_server
async def register(session: Session, user: str, key: str) -> None:
    """Deprecated: use `auth register`."""
    session.printer.note(
        'Command "register" is deprecated, use: headscale auth register --auth-id ID --user USER'
    )
    node = await session.client.approve_login(user, key)
    session.printer.result(node, f"Node {node.given_name} registered")


@nodes.command("expire", aliases=("logout", "exp", "e"))
@by_id
@click.option("-e", "--expiry", default="", help="When, instead of now: 2030-01-02T15:04:05Z.")
@click.option("-d", "--disable", is_flag=True, help="Never.")
@with_server
async def expire(session: Session, identifier: int, expiry: str, disable: bool) -> None:
    """Make a node log in again."""
    if expiry and disable:
        raise Invalid("--expiry and --disable exclude each other")
    at = moment_of(expiry) if expiry else None
    node = await session.client.expire_node(identifier, expiry=at, never=disable)
    is_later = at is not None and at > session.now
    done = "Node expiry disabled" if disable else "Node expiration updated" if is_later else "Node expired"
    session.printer.result(node, done)


@nodes.command("rename")
@click.argument("new_name")
@by_id
@with_server
async def rename(session: Session, identifier: int, new_name: str) -> None:
    """Give a node another DNS name."""
    session.printer.result(await session.client.rename_node(identifier, new_name), "Node renamed")


@nodes.command("delete", aliases=("del",))
@by_id
@with_server
async def delete(session: Session, identifier: int) -> None:
    """Delete a node."""
    node = await session.client.get_node(identifier)
    done = session.line.confirm(f"Do you want to remove the node {clean(node.given_name)}?")
    if done:
        await session.client.delete_node(identifier)
    text = "Node deleted" if done else "Node not deleted"
    session.printer.result({"Result": text}, text)


@nodes.command("tag", aliases=("tags", "t"))
@by_id
@click.option("-t", "--tags", callback=words, multiple=True, help="All tags of the node: tag:a,tag:b.")
@with_server
async def tag(session: Session, identifier: int, tags: list[str]) -> None:
    """Set the tags of a node. It belongs to them and to no user any more."""
    session.printer.result(await session.client.set_tags(identifier, tags), "Node updated")


@nodes.command("approve-routes")
@by_id
@click.option(
    "-r",
    "--routes",
    callback=words,
    multiple=True,
    required=True,
    help='All routes it may serve; "" for none.',
)
@with_server
async def approve_routes(session: Session, identifier: int, routes: list[str]) -> None:
    """Set the routes that a node may serve."""
    session.printer.result(await session.client.set_approved_routes(identifier, routes), "Node updated")


@nodes.command("backfillips")
@with_server
async def backfillips(session: Session) -> None:
    """Fit nodes' addresses to the prefixes. Each has one of every family of its tailnet, and no others."""
    if not session.line.confirm("Do you want to give and take addresses of nodes to fit the prefixes?"):
        session.printer.result({"Result": "Node IPs not backfilled"}, "Node IPs not backfilled")
        return
    changes = await session.client.backfill_addresses()
    session.printer.result(
        {"changes": changes} if changes else {}, "\n".join(changes) or "Node IPs backfilled successfully"
    )
