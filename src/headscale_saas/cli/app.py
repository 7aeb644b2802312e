"""`headscale` and `headscale-saas`: from the words on the line to an exit status, 0 or 1."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from headscale_saas.cli.api_keys import apikeys
from headscale_saas.cli.auth_keys import preauthkeys
from headscale_saas.cli.clusters import clusters
from headscale_saas.cli.commands import Group, said
from headscale_saas.cli.databases import db
from headscale_saas.cli.flags import hoist
from headscale_saas.cli.logins import auth
from headscale_saas.cli.nodes import nodes
from headscale_saas.cli.noise_keys import noisekeys
from headscale_saas.cli.output import FORMATS, Printer
from headscale_saas.cli.policy import policy
from headscale_saas.cli.server import completion, configtest, generate, health, help_, serve, version
from headscale_saas.cli.session import Line
from headscale_saas.cli.tailnets import tailnets
from headscale_saas.cli.users import users
from headscale_saas.errors import Error, Unavailable

NAME = "headscale"
NOT_BUILT = {
    "oauth-clients", "oauth-client", "oauthclients", "oauthclient", "oauth",
    "mockoidc",
    "debug",
    "dumpConfig",
}  # fmt: skip
"""headscale's commands that we do not have: said so, instead of `unknown command`."""

TRACEBACK = "HEADSCALE_TRACEBACK"
SWARM = "headscale_saas.swarm.command"


class Root(Group):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in NOT_BUILT:
            raise Unavailable(f"{cmd_name} is not built yet", code="not_built")
        return _swarm() if cmd_name == "swarm" else super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *(["swarm"] if _has_swarm() else [])])


def _has_swarm() -> bool:
    return importlib.util.find_spec("headscale_saas.swarm") is not None and bool(
        importlib.util.find_spec(SWARM)
    )


def _swarm() -> click.Command | None:
    """Loaded only when asked for: simulated clients are no part of running a service."""
    if not _has_swarm():
        return None
    module = importlib.import_module(SWARM)
    found = [part for part in vars(module).values() if isinstance(part, click.Command)]
    return next((part for part in found if part.name == "swarm"), None)


@click.group(NAME, cls=Root)
@click.option("-c", "--config", default="", help="Config file (default: /etc/headscale/config.yaml).")
@click.option(
    "-o",
    "--output",
    default="",
    type=click.Choice(FORMATS),
    metavar="FORMAT",
    help="json, json-line or yaml.",
)
@click.option("--force", is_flag=True, help="Do not ask.")
@click.option(
    "-t",
    "--tailnet",
    envvar="HEADSCALE_TAILNET",
    default="",
    help="The tailnet to act on; -t only where the command has no -t of its own.",
)
@click.pass_context
def root(context: click.Context, config: str, output: str, force: bool, tailnet: str) -> None:
    """A Tailscale control plane as a service: many tailnets, many processes, one PostgreSQL."""
    path = Path(config) if config else None
    context.obj = Line(path, Printer(output), force, tailnet, owns_process=context.obj is True)


for part in (
    serve, version, configtest, health, generate, completion, help_,
    users, nodes, preauthkeys, apikeys, auth, policy, tailnets, clusters, noisekeys, db,
):  # fmt: skip
    root.add_command(part)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status; `arguments` are those of the process if None."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        words = hoist(root, words)
        status = root.main(words, prog_name=NAME, standalone_mode=False, obj=arguments is None)
        sys.stdout.flush()
    except click.ClickException as problem:
        context = problem.ctx if isinstance(problem, click.UsageError) else None
        return _failed(words, said(problem), context.get_help() if context else "")
    except Error as problem:
        return _failed(words, str(problem))
    except (click.Abort, KeyboardInterrupt):
        return _failed(words, "interrupted")
    except BrokenPipeError:  # the reader has seen enough; nothing may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as fault:
        if os.environ.get(TRACEBACK):
            raise
        # Not its text: that may quote what was in the way.
        return _failed(words, f"a fault of ours: {type(fault).__name__}; {TRACEBACK}=1 shows where")
    return int(bool(status))


def _failed(words: Sequence[str], message: str, usage: str = "") -> int:
    Printer(_wanted_output(words)).error(message, usage)
    return 1


def _wanted_output(words: Sequence[str]) -> str:
    """What `-o` says, also on a line that is wrong elsewhere."""
    wanted = ""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--":
            break
        if word in {"-o", "--output"}:
            wanted = following
        elif word.startswith(("--output=", "-o")) and word != "-o":
            wanted = word.removeprefix("--output=").removeprefix("-o").removeprefix("=")
    return wanted if wanted in FORMATS else ""
