"""Finds the database: the configured one, or the embedded one of the server that runs on this machine.

A server that is just starting is waited for, with pauses that grow, up to `cli.timeout`. Nothing is
started here: without a server there is a clear answer instead.
"""

import asyncio
import getpass
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from headscale_saas.cli.direct import DirectClient
from headscale_saas.clock import Clock
from headscale_saas.config import Config
from headscale_saas.errors import Error, Refused, Unavailable
from headscale_saas.postgres.server import SUPERUSER
from headscale_saas.store.database import Database
from headscale_saas.store.directory import list_tailnets
from headscale_saas.store.feed import Doorbell
from headscale_saas.tailnet.model import Actor

EMBEDDED = "headscale"
"""The database that `serve` makes in its embedded server."""

FIRST_PAUSE_SECONDS = 0.05
LAST_PAUSE_SECONDS = 1.0


@asynccontextmanager
async def connected(config: Config, tailnet: str, clock: Clock) -> AsyncIterator[DirectClient]:
    """A client for the tailnet of this name ("" = the configured default)."""
    database = await _open(config)
    doorbell = Doorbell(database.address)
    database.on_commit = doorbell.ring
    try:
        yield DirectClient(database, doorbell, config, clock, _actor(config), tailnet or config.tailnet.name)
    finally:
        await database.close()
        await doorbell.close()


async def _open(config: Config) -> Database:
    deadline = asyncio.get_running_loop().time() + config.cli.timeout.total_seconds()
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await _open_now(config)
        except (Unavailable, Refused) as problem:
            if not _may_pass(config, problem):
                raise
            if asyncio.get_running_loop().time() + pause > deadline:
                raise _nobody_there(config, problem) from None
        await asyncio.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, LAST_PAUSE_SECONDS)


async def _open_now(config: Config) -> Database:
    database = await Database.open(
        find_dsn(config), name="headscale-saas-cli", pool_size=2, pooler=config.database.pooler
    )
    if config.database.dsn is None:
        try:
            async with database.directory() as tx:
                if not await list_tailnets(tx):
                    raise Unavailable("the server is just making its first tailnet")
        except BaseException:
            await database.close()
            raise
    return database


def _may_pass(config: Config, problem: Error) -> bool:
    """A server that starts makes its database, schema and roles; a configured one is as it is."""
    is_starting = config.database.dsn is None
    return is_starting or (isinstance(problem, Unavailable) and problem.code != "locked_out")


def find_dsn(config: Config) -> str:
    """The DSN of the configured database, else of the embedded one. Raises Unavailable if that is not up."""
    return config.database.dsn or embedded_dsn(config.state_dir / "postgres")


def embedded_dsn(data_dir: Path) -> str:
    """PostgreSQL writes into its postmaster.pid in which directory its socket is (line 5)."""
    try:
        socket_dir = (data_dir / "postmaster.pid").read_text().splitlines()[4].strip()
    except PermissionError:
        raise Unavailable(
            f"no permission to look into {data_dir}: run this as root or as the user who runs the server"
        ) from None
    except (OSError, IndexError, UnicodeDecodeError):
        raise Unavailable(f"no database runs in {data_dir}") from None
    return f"postgresql://{SUPERUSER}@/{EMBEDDED}?host={quote(socket_dir, safe='')}"


def _nobody_there(config: Config, problem: Error) -> Unavailable:
    waited = f"{config.cli.timeout.total_seconds():g} s"
    if config.database.dsn:
        return Unavailable(f"the database did not answer within {waited}: {problem.message}")
    return Unavailable(
        f"no server answers for the state directory {config.state_dir} (waited {waited}: {problem.message}). "
        "Start one with: headscale serve"
    )


def _actor(config: Config) -> Actor:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user number without a name
        name = "unknown"
    return Actor(kind="cli", name=name, origin="local" if config.database.dsn else "unix socket")
