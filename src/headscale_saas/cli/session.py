"""What a command works with."""

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import click

from headscale_saas.cli.client import Client
from headscale_saas.cli.output import Printer
from headscale_saas.clock import Clock, SystemClock
from headscale_saas.errors import Unavailable

if TYPE_CHECKING:
    from headscale_saas.config import Config, Loaded

P = ParamSpec("P")
LONGEST_SECONDS = 60.0
"""No single command works longer, once connected."""

YES = {"y", "yes", "sure"}


@dataclass(frozen=True)
class Line:
    """What the persistent flags say. `tailnet` "" means the configured default.

    `owns_process`: this line is all that the process does, so its logs may be set up.
    """

    config_path: Path | None
    printer: Printer
    force: bool
    tailnet: str
    owns_process: bool = False
    clock: Clock = field(default_factory=SystemClock)

    def load(self) -> "Loaded":
        """The configuration. Raises Invalid with all its faults."""
        from headscale_saas.config import load  # noqa: PLC0415 - `version` and `--help` need none of it
        from headscale_saas.observe.logs import configure  # noqa: PLC0415 - as above

        if self.owns_process:  # stdout is for answers; `serve` sets its own
            configure("error", "text", cluster_id=0, process="cli")
        return load(self.config_path)

    def config(self) -> "Config":
        return self.load().config

    def confirm(self, question: str) -> bool:
        """Asks on stderr; no answer is a no."""
        if self.force:
            return True
        print(f"{question} [y/n] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in YES


def current_line() -> Line:
    line: Line = click.get_current_context().find_root().obj
    return line


@dataclass(frozen=True)
class Session:
    """One command's work with a server."""

    client: Client
    line: Line

    @property
    def printer(self) -> Printer:
        return self.line.printer

    @property
    def now(self) -> datetime:
        return self.line.clock.now()


Verb = Callable[Concatenate[Session, P], Awaitable[None]]


def with_server(verb: Verb[P]) -> Callable[P, None]:
    """Makes a command of a coroutine: connects before it and lets go after it."""

    @functools.wraps(verb)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(_connected(current_line(), verb, *args, **kwargs))

    return command


async def _connected(line: Line, verb: Verb[P], *args: P.args, **kwargs: P.kwargs) -> None:
    from headscale_saas.cli.connect import connected  # noqa: PLC0415 - see Line.load

    async with connected(line.config(), line.tailnet, line.clock) as client:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await verb(Session(client, line), *args, **kwargs)
        except TimeoutError:
            raise Unavailable(f"no answer within {LONGEST_SECONDS:g} s; it may have taken effect") from None
