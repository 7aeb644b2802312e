"""`headscale noisekeys`: the keys that clients know the service by."""

from pathlib import Path

import click

from headscale_saas.cli.commands import Group
from headscale_saas.cli.output import moment
from headscale_saas.cli.session import Session, with_server
from headscale_saas.errors import Invalid
from headscale_saas.tailcfg.keys import PrivateKey

COLUMNS = ("Key", "State", "Created")
LOCKED_OUT = "A client that knows only this key is locked out until it is started again."


@click.group("noisekeys", cls=Group, aliases=("noisekey",))
def noisekeys() -> None:
    """Manage the keys that clients know the service by."""


@noisekeys.command("list", aliases=("ls", "show"))
@with_server
async def list_(session: Session) -> None:
    """List the keys."""
    found = await session.client.list_noise_keys()
    session.printer.table(found, COLUMNS, ((one.key, one.state, moment(one.created_at)) for one in found))


@noisekeys.command("add", aliases=("create", "new"))
@click.option("--file", "file", type=click.Path(path_type=Path), help="A key file instead of a new key.")
@with_server
async def add(session: Session, file: Path | None) -> None:
    """Make a key that is accepted, but told to nobody yet."""
    made = await session.client.add_noise_key(None if file is None else _read(file))
    session.printer.result(made, made.key)


@noisekeys.command("serve")
@click.argument("key")
@with_server
async def serve(session: Session, key: str) -> None:
    """Tell clients this key from now on; the one before stays accepted."""
    session.printer.result(await session.client.serve_noise_key(key), "Noise key serves")


@noisekeys.command("retire")
@click.argument("key")
@with_server
async def retire(session: Session, key: str) -> None:
    """Accept a key no longer, and delete its private half."""
    found = await session.client.noise_key_to_retire(key)
    question = f"{LOCKED_OUT} Do you want to retire {found.key}?"
    if not session.line.confirm(question):
        session.printer.result({"Result": "Noise key not retired"}, "Noise key not retired")
        return
    session.printer.result(await session.client.retire_noise_key(found.key), "Noise key retired")


def _read(file: Path) -> PrivateKey:
    try:
        return PrivateKey.parse(file.read_text().strip())
    except (OSError, ValueError) as problem:
        raise Invalid(f"{file} holds no key: {problem}") from None
