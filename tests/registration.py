"""Devices that register straight at the verbs, on several processes of one cluster."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
from tests.store_world import ADMIN, CLUSTER, a_node, process, put_node

from headscale_saas.actions import auth_keys, logins, nodes, presence, register, tailnets, users
from headscale_saas.actions.approvals import policy_of
from headscale_saas.actions.outcome import Outcome, Registered
from headscale_saas.actions.upkeep import ADDRESS_REST
from headscale_saas.store import due
from headscale_saas.store.database import Database
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailcfg.register import RegisterAuth, RegisterRequest
from headscale_saas.tailnet.model import Node, Settings, TailnetId, UserId

CAPVER = 142
FREE_FOR_ALL = Settings()


async def nobody_waits(_id_hash: bytes) -> None:
    raise AssertionError("this registration should not wait")


class Device:
    """A client. `rotate` makes it a new node key, as a client does at each login."""

    numbers = itertools.count(1)

    def __init__(self, hostname: str = "") -> None:
        self.machine_key = MachineKey(os.urandom(32))
        self.node_key = NodeKey(os.urandom(32))
        self.old_node_key = NodeKey.zero()
        self.origin = "192.0.2.7"
        self.hostname = hostname or f"device{next(self.numbers)}"

    def rotate(self) -> None:
        self.old_node_key, self.node_key = self.node_key, NodeKey(os.urandom(32))

    def request(self, auth_key: str = "", **changes: Any) -> RegisterRequest:
        request = RegisterRequest(
            version=CAPVER,
            node_key=self.node_key,
            old_node_key=self.old_node_key,
            auth=RegisterAuth(auth_key=auth_key) if auth_key else None,
            hostinfo=Hostinfo(hostname=self.hostname, os="linux"),
        )
        return msgspec.structs.replace(request, **changes)

    async def register(
        self,
        db: Database,
        auth_key: str = "",
        *,
        wait: logins.WaitForLogin = nobody_waits,
        capver: int = CAPVER,
        **changes: Any,
    ) -> Outcome:
        request = self.request(auth_key, **changes)
        return await register.register(
            db, policy_of, self.machine_key, capver, request, self.origin, wait=wait
        )

    async def join(self, db: Database, auth_key: str = "", **changes: Any) -> Node:
        outcome = await self.register(db, auth_key, **changes)
        assert isinstance(outcome, Registered), outcome
        return outcome.node


class Home(msgspec.Struct, frozen=True):
    """A tailnet with two users."""

    db: Database
    id: TailnetId
    anna: UserId
    bert: UserId

    async def key(self, **options: Any) -> str:
        """A new auth key of anna's, for one use unless told otherwise."""
        if "tags" not in options:
            options.setdefault("user", self.anna)
        return (await auth_keys.create_auth_key(self.db, ADMIN, self.id, **options)).text

    async def nodes(self) -> list[Node]:
        return await nodes.list_nodes(self.db, self.id)

    async def node(self, node: Node) -> Node:
        return await nodes.get_node(self.db, self.id, node.id)

    async def audit(self, action: str) -> list[dict[str, Any]]:
        sql = "select target, detail, process from audit where tailnet_id = $1 and action = $2 order by id"
        async with self.db.read(self.id) as tx:
            rows = await tx.fetch(sql, self.id, action)
        return [
            {"target": r["target"], "process": r["process"], **msgspec.json.decode(r["detail"])} for r in rows
        ]

    async def version(self) -> int:
        async with self.db.read(self.id) as tx:
            return tx.head.version


class World:
    """Processes of one cluster over one database; `db` is the first."""

    def __init__(self, processes: list[Database]) -> None:
        self.processes = processes
        self.db = processes[0]

    async def home(self, name: str = "acme", settings: Settings = FREE_FOR_ALL) -> Home:
        made = await tailnets.create_tailnet(self.db, ADMIN, name, CLUSTER, settings)
        anna = await users.create_user(self.db, ADMIN, made.id, "anna")
        bert = await users.create_user(self.db, ADMIN, made.id, "bert")
        return Home(self.db, made.id, anna.id, bert.id)


@asynccontextmanager
async def world(dsn: str, processes: int = 1) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World([await stack.enter_async_context(process(dsn)) for _ in range(processes)])


async def database_now(db: Database) -> datetime:
    async with db.directory() as tx:
        now: datetime = await tx.fetchval("select now()")
        return now


@asynccontextmanager
async def never_resting(db: Database, tailnet: TailnetId) -> AsyncIterator[None]:
    """The tailnet moves all the time."""
    at_rest = asyncio.Event()

    async def move() -> None:
        while not at_rest.is_set():
            await db.write(tailnet, ADMIN, lambda tx: put_node(tx, a_node(7)))

    moving = asyncio.create_task(move())
    try:
        yield
    finally:
        at_rest.set()
        await moving


async def settle(db: Database, now: datetime) -> int:
    """Who is shown online without a stream at that time goes offline; returns how many."""
    async with db.directory() as tx:
        found = await due.read(tx, now, presence.GRACE, ADDRESS_REST)
    return await presence.settle(db, found.unsettled, now)
