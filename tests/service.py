"""Several workers in one event loop over one real database: what a flow test needs of the service.

    async with service(dsn, workers=2) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, worker=0) as alice, house.client(acme, worker=1) as bob:
            …
            await house.settled(acme, alice, bob)

Every client carries marks of its tailnet and fails when it meets a mark of another one, so each flow
test is a test of isolation too. `settled` is the other oracle: what the clients were told bit by bit is
what the database says as a whole.
"""
# ruff: noqa: ASYNC109 - limits are part of what a test asks for

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from tests.limits import whereabouts
from tests.oracle import differences
from tests.waiting import until

from headscale_saas import founding, noise_keys
from headscale_saas.actions import auth_keys, nodes, tailnets, users
from headscale_saas.config import Config
from headscale_saas.serve import Worker
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.site import Site
from headscale_saas.tailnet.model import Actor, ClusterId, Node, TailnetId, UserId

TESTER = Actor(kind="cli", name="tester", origin="test")

DERP_MAP = """
regions:
  901:
    regionid: 901
    regioncode: test
    regionname: Test
    nodes:
      - {name: 901a, regionid: 901, hostname: 127.0.0.1, ipv4: 127.0.0.1, stunport: 3478, derpport: 3340}
"""


class Home(msgspec.Struct, frozen=True):
    """A tailnet with one user and a reusable key."""

    id: TailnetId
    name: str
    user: UserId
    key: str


class Running:
    """One worker that serves on a loopback port."""

    def __init__(self, worker: Worker, database: Database, site: Site, listener: socket.socket) -> None:
        self.worker = worker
        self.database = database
        self.site = site
        self._listener = listener
        self._task = asyncio.create_task(worker.run([listener], None, 0.0))

    @property
    def runs(self) -> bool:
        return not self._task.done()

    async def ended(self, timeout: float = 30.0) -> int:
        """Waits until it has ended by itself; returns its exit status."""
        _, late = await asyncio.wait([self._task], timeout=timeout)
        assert not late, f"not ended within {timeout} s:\n{whereabouts(asyncio.all_tasks())}"
        await self.database.close()
        return self._task.result()

    async def stop(self) -> int:
        """An orderly end."""
        self.worker.stop()
        return await self.ended()

    async def die(self) -> None:
        """As by `kill -9`: connections break, and nothing is said to the database."""
        self._task.cancel()
        _, late = await asyncio.wait([self._task], timeout=20)
        assert not late, f"cancelled, it goes on:\n{whereabouts(asyncio.all_tasks())}"
        await self.database.close()


class House:
    """The service under test. `tool` is a database handle for looking and for what an admin does."""

    def __init__(self, dsn: str, config: Config, tool: Database) -> None:
        self.dsn = dsn
        self.config = config
        self.tool = tool
        self.workers: list[Running] = []

    async def tailnet(self, name: str) -> Home:
        """A new tailnet, with addresses that every other one may use, too."""
        settings = founding.settings_of_new_tailnet(self.config, name)
        made = await tailnets.create_tailnet(self.tool, TESTER, name, ClusterId(1), settings)
        user = await users.create_user(self.tool, TESTER, made.id, "alice")
        return Home(made.id, name, user.id, await self.key(made.id, user.id))

    async def key(
        self, tailnet: TailnetId, user: UserId, *, reusable: bool = True, ephemeral: bool = False
    ) -> str:
        made = await auth_keys.create_auth_key(
            self.tool, TESTER, tailnet, user=user, reusable=reusable, ephemeral=ephemeral
        )
        return made.text

    def client(self, home: Home, worker: int = 0, **how: object) -> Client:
        """A simulated client of that tailnet that talks to one worker."""
        return Client(self.workers[worker].site, tailnet=home.name, **how)  # type: ignore[arg-type]

    async def settled(self, home: Home, *clients: Client, timeout: float = 5.0) -> None:
        """Returns when each client believes exactly what the database says of its node (I4, I6)."""
        found: list[str] = []

        async def agree() -> bool:
            found[:] = await differences(self.tool, self.config, home.id, clients)
            return not found

        await until(agree, within=timeout, told=lambda: "\n".join(found))
        for client in clients:
            client.site.oracle.demand_clean()

    async def node_of(self, home: Home, client: Client) -> Node:
        """The client's row."""
        found = await nodes.list_nodes(self.tool, home.id)
        return next(node for node in found if node.node_key == client.identity.node_key)

    async def sql(self, text: str, *values: object) -> list[Any]:
        """Runs a statement as the owner of everything, past all walls; returns its rows."""
        connection = await asyncpg.connect(self.dsn, timeout=10, command_timeout=30)
        try:
            return list(await connection.fetch(text, *values))
        finally:
            await connection.close()

    async def start_worker(self, drop: Callable[[str], bool] = lambda payload: False) -> Running:
        """One more worker, as a process of its own number. Its doorbell swallows what `drop` says."""
        async with self.tool.directory() as tx:
            number = await directory.register_process(tx, ClusterId(1), "test")
        database = await Database.open(self.dsn, process=number)
        keys = await noise_keys.found(
            database, self.config.noise.private_key_path, self.config.secrets.key_path
        )
        listener = socket.create_server(("127.0.0.1", 0))
        worker = Worker(self.config, self.dsn, database, keys, drop_doorbell=drop)
        site = Site(f"http://127.0.0.1:{listener.getsockname()[1]}")
        running = Running(worker, database, site, listener)
        self.workers.append(running)
        return running


@asynccontextmanager
async def service(
    dsn: str, *, workers: int = 1, drop: Callable[[str], bool] = lambda payload: False, **settings: object
) -> AsyncIterator[House]:
    """A running service; `settings` are keys of the configuration."""
    async with AsyncExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        derp = state / "derp.yaml"
        derp.write_text(DERP_MAP)
        config = Config.model_validate(
            {
                "state_dir": state,
                "server_url": "http://127.0.0.1:8080",
                "database": {"url": dsn},
                "derp": {"paths": [str(derp)], "urls": []},
                **settings,
            }
        )
        tool = await Database.open(dsn, pool_size=4)
        stack.push_async_callback(tool.close)
        await founding.found_in(tool, config)
        house = House(dsn, config, tool)
        stack.push_async_callback(_stop_all, house)
        for _ in range(workers):
            await house.start_worker(drop)
        yield house


async def _stop_all(house: House) -> None:
    for running in house.workers:
        if running.runs:
            await running.stop()
