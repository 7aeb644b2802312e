"""What tests of the store share: processes of a cluster, tailnets, rows for them."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import msgspec

from headscale_saas.errors import Conflict
from headscale_saas.store import directory, nodes, users
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.keys import DiscoKey, MachineKey, NodeKey, TailnetLockKey
from headscale_saas.tailnet.model import Actor, ClusterId, Node, NodeId, TailnetId, User, UserId

ADMIN = Actor(kind="cli", name="tester", origin="test")
CLUSTER = ClusterId(1)
OTHER_CLUSTER = ClusterId(2)
NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)


def key_bytes(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


@asynccontextmanager
async def process(dsn: str, cluster: ClusterId = CLUSTER, **options: Any) -> AsyncIterator[Database]:
    """A registered process of a cluster, made if it is not there."""
    tool = await Database.open(dsn, pool_size=1, pooler=options.get("pooler", False))
    try:
        async with tool.directory() as tx:
            try:
                async with tx.savepoint():
                    await directory.create_cluster(tx, cluster, f"cluster-{cluster}")
            except Conflict:
                pass
            number = await directory.register_process(tx, cluster, "test")
    finally:
        await tool.close()
    database = await Database.open(dsn, process=number, **options)
    try:
        yield database
    finally:
        await database.close()


async def new_tailnet(database: Database, name: str, cluster: ClusterId = CLUSTER) -> TailnetId:
    async with database.directory() as tx:
        return (await directory.create_tailnet(tx, name, cluster)).id


def a_user(number: int, **changes: Any) -> User:
    user = User(id=UserId(number), name=f"user{number}", created_at=NOON)
    return msgspec.structs.replace(user, **changes)


def a_node(number: int, **changes: Any) -> Node:
    """A tagged node, unlike every other of its tailnet."""
    node = Node(
        id=NodeId(number),
        stable_id=f"n{number}",
        machine_key=MachineKey(key_bytes("machine", number)),
        node_key=NodeKey(key_bytes("node", number)),
        disco_key=DiscoKey(key_bytes("disco", number)),
        tailnet_lock_key=TailnetLockKey.zero(),
        user_id=None,
        tags=("tag:test",),
        hostname=f"host{number}",
        name=f"host{number}",
        ipv4=IPv4Address("100.64.0.0") + number,
        ipv6=IPv6Address("fd7a:115c:a1e0::") + number,
        created_at=NOON,
        hostinfo=Hostinfo(os="linux", hostname=f"host{number}"),
        endpoints=("192.0.2.1:41641",),
    )
    return msgspec.structs.replace(node, **changes)


async def put_node(tx: TailnetTx, node: Node) -> None:
    await _put(tx, "nodes", nodes.COLUMNS, nodes.to_row(node))
    tx.touch(nodes=[node.id])


async def put_user(tx: TailnetTx, user: User) -> None:
    await _put(tx, "users", users.COLUMNS, users.to_row(user))
    tx.touch(users=[user.id])


async def _put(tx: TailnetTx, table: str, columns: tuple[str, ...], row: tuple[object, ...]) -> None:
    """Inserts the row, or makes the one with its id equal to it."""
    names = ", ".join(("tailnet_id", "cluster_id", *columns))
    values = ", ".join(f"${i}" for i in range(1, len(columns) + 3))
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
    await tx.execute(
        f"insert into {table} ({names}) values ({values})"
        f" on conflict (tailnet_id, id) do update set {changes}",
        tx.tailnet,
        tx.head.cluster_id,
        *row,
    )
