"""Finds the database: the configured one, or the embedded one of the server that runs on this machine.

A server that is not there is waited for, with pauses that grow, up to `cli.timeout`; one that is just
starting, longer. Nothing is started here: without a server there is a clear answer instead.
"""

import asyncio
import fcntl
import getpass
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from headscale_saas.cli.direct import DirectClient
from headscale_saas.clock import Clock
from headscale_saas.config import Config
from headscale_saas.errors import Error, Refused, Unavailable
from headscale_saas.founding import place_of
from headscale_saas.postgres.server import SUPERUSER
from headscale_saas.store.database import Database
from headscale_saas.store.directory import list_clusters, list_tailnets
from headscale_saas.store.feed import Doorbell
from headscale_saas.store.transactions import DirectoryTx
from headscale_saas.tailnet.model import Actor

EMBEDDED = "headscale"
"""The database that `serve` makes in its embedded server."""

FIRST_PAUSE_SECONDS = 0.05
LAST_PAUSE_SECONDS = 1.0
STARTING_SECONDS = 60.0
"""The first start of a server makes a database; then it is worth waiting longer than `cli.timeout`."""
FOUNDING = timedelta(seconds=5)
"""So long after its cluster a new server may have no tailnet yet."""


@asynccontextmanager
async def connected(config: Config, tailnet: str, clock: Clock) -> AsyncIterator[DirectClient]:
    """A client for the tailnet of this name ("" = the configured default). Raises Unavailable, Refused."""
    if config.cli.address:
        raise Unavailable("servers on other machines (cli.address) are not built yet", code="not_built")
    database = await _open(config, clock)
    doorbell = Doorbell(database.address)
    database.on_commit = doorbell.ring
    try:
        yield DirectClient(database, doorbell, config, clock, _actor(config), tailnet or config.tailnet.name)
    finally:
        await database.close()
        await doorbell.close()


async def _open(config: Config, clock: Clock) -> Database:
    began = asyncio.get_running_loop().time()
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await _open_now(config, clock)
        except (Unavailable, Refused) as problem:
            waited = asyncio.get_running_loop().time() - began
            if waited + pause > _patience(config, problem):
                raise _nobody_there(config, problem, waited) from None
        await asyncio.sleep(pause * random.uniform(0.5, 1))
        pause = min(pause * 2, LAST_PAUSE_SECONDS)


def _patience(config: Config, problem: Error) -> float:
    """How many seconds are worth waiting altogether for this to pass."""
    may_pass = isinstance(problem, Unavailable) and problem.code != "locked_out"
    may_pass |= problem.code in {"schema_too_old", "roles_missing"}  # a server may be just about to do it
    has_own = config.database.dsn is None and is_starting(config.state_dir / "postgres")
    may_pass |= has_own and problem.code == "locked_out"  # its PostgreSQL is up before our database is made
    if not may_pass:
        return 0
    if has_own and "timeout" not in config.cli.model_fields_set:
        return STARTING_SECONDS
    return config.cli.timeout.total_seconds()


async def _open_now(config: Config, clock: Clock) -> Database:
    database = await Database.open(
        find_dsn(config), name="headscale-saas-cli", pool_size=2, pooler=config.database.pooler
    )
    if config.database.dsn is None:
        try:
            async with database.directory() as tx:
                if await _is_being_founded(tx, clock):
                    raise Unavailable("the server is just making its first tailnet")
        except BaseException:
            await database.close()
            raise
    return database


async def _is_being_founded(tx: DirectoryTx, clock: Clock) -> bool:
    """The cluster is made just before the tailnet; where there is none long after, somebody wanted it so."""
    clusters = await list_clusters(tx)
    if not clusters:
        return True
    age = clock.now() - clusters[0].created_at
    return age < FOUNDING and not await list_tailnets(tx)


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


def is_starting(data_dir: Path) -> bool:
    """Whether a server has the embedded database in hand, be it ready or not: its lock file is locked."""
    real = data_dir.resolve()
    try:
        with real.with_name(real.name + ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _nobody_there(config: Config, problem: Error, waited: float) -> Error:
    if isinstance(problem, Refused):
        return problem
    if config.database.dsn:
        tried = "" if problem.code == "locked_out" else f" (tried for {waited:.1f} s)"
        return Unavailable(f"{problem.message}: {place_of(config.database.dsn)}{tried}", code=problem.code)
    if problem.code == "locked_out":
        return problem
    if is_starting(config.state_dir / "postgres"):
        return Unavailable(
            f"the server for the state directory {config.state_dir} was not ready within {waited:.1f} s: "
            f"{problem.message}"
        )
    return Unavailable(
        f"no server answers for the state directory {config.state_dir} (waited {waited:.1f} s: "
        f"{problem.message}). Start one with: headscale serve"
    )


def _actor(config: Config) -> Actor:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user number without a name
        name = "unknown"
    return Actor(kind="cli", name=name, origin="local" if config.database.dsn else "unix socket")
