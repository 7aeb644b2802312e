"""The server itself: run it, ask it, check its configuration."""

import platform
import secrets

import click
from click.shell_completion import get_completion_class

from headscale_saas.cli.commands import Command, Group
from headscale_saas.cli.session import Session, current_line, with_server
from headscale_saas.tailcfg.keys import KEY_BYTES, PrivateKey
from headscale_saas.version import COMPATIBLE, OWN

SHELLS = ("bash", "fish", "zsh")


@click.command("serve", cls=Command)
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that serve clients.")
@click.option("--join-line", is_flag=True, help="Print a ready `tailscale up` line when clients are served.")
def serve(workers: int | None, join_line: bool) -> None:
    """Run the server. Without a configured database it brings one along."""
    from headscale_saas import supervisor  # noqa: PLC0415 - the other commands need no server

    supervisor.run(current_line().load(), workers=workers, join_line=join_line)


@click.command("version", cls=Command)
def version() -> None:
    """Print the version."""
    runtime = {
        "version": f"python{platform.python_version()}",
        "os": platform.system().lower(),
        "arch": platform.machine(),
    }
    current_line().printer.result(
        {"version": COMPATIBLE, "commit": "", "buildTime": "", "go": runtime, "dirty": False},
        f"headscale-saas version {OWN}\nruns on: {' '.join(runtime.values())}",
    )


@click.command("configtest", cls=Command)
def configtest() -> None:
    """Check the configuration. Stdout stays silent, doubts go to stderr."""
    from headscale_saas.config.files import demand_files  # noqa: PLC0415 - the other commands read no files

    loaded = current_line().load()
    demand_files(loaded)
    for warning in loaded.warnings:
        current_line().printer.note(f"Warning: {warning}")


@click.command("health", cls=Command)
@with_server
async def health(session: Session) -> None:
    """Exit with 0 if the service can work, else with 1."""
    session.printer.result(await session.client.health(), "")


@click.group("generate", cls=Group, aliases=("gen",))
def generate() -> None:
    """Make keys."""


@generate.command("private-key")
def private_key() -> None:
    """Make a private key for a key file."""
    raw = bytearray(secrets.token_bytes(KEY_BYTES))
    raw[0] &= 0b11111000  # RFC 7748, section 5: what X25519 would do anyway, so that all tools agree
    raw[31] = raw[31] & 0b01111111 | 0b01000000
    text = PrivateKey(bytes(raw)).reveal()
    current_line().printer.result({"private_key": text}, text)


@click.command("help", cls=Command)
@click.argument("topic", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help_(context: click.Context, topic: tuple[str, ...]) -> None:
    """Show what a command does: headscale help users list."""
    root = context.find_root()
    command, place = root.command, root
    for word in topic:
        found = command.get_command(place, word) if isinstance(command, click.Group) else None
        if found is None:
            raise click.UsageError(f'unknown help topic "{" ".join(topic)}"', root)
        command, place = found, click.Context(found, info_name=found.name, parent=place)
    click.echo(command.get_help(place))


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands. Use it as: source <(headscale completion bash)."""
    found = get_completion_class(shell)
    assert found is not None
    root = context.find_root()
    click.echo(found(root.command, {}, "headscale", "_HEADSCALE_COMPLETE").source())
