"""Nodes: row <-> value, and the queries."""

from collections.abc import Collection, Iterable
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any

from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.codec import decode, encode
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.keys import DiscoKey, MachineKey, NodeKey, TailnetLockKey
from headscale_saas.tailnet.model import KeyId, Node, NodeId, RegisterMethod, UserId

COLUMNS = (
    "id", "stable_id", "machine_key", "node_key", "disco_key", "tailnet_lock_key", "user_id", "tags",
    "hostname", "name", "name_is_fixed", "ipv4", "ipv6", "created_at", "expires_at", "expired", "authorized",
    "ephemeral", "auth_key_id", "register_method", "capver", "hostinfo", "endpoints", "home_derp",
    "approved_routes", "online", "last_seen",
)  # fmt: skip
"""The columns a Node is made of, in the order of `to_row`."""

SELECT = ", ".join(f"n.{name}" for name in COLUMNS)
"""The select list, for a table aliased `n`."""

ADDRESSES = ("ipv4", "ipv6")
METHODS = {method.value: method for method in RegisterMethod}
HOSTINFO_LIMIT = 1 << 24
"""Ours is bounded when it is written; a row is never refused for its length."""


# The table checks the length of keys; checking again costs a tenth of a load.
_key = bytes.__new__


def from_record(row: Any) -> Node:
    """A row with all of COLUMNS."""
    return Node(
        id=row["id"],
        stable_id=row["stable_id"],
        machine_key=_key(MachineKey, row["machine_key"]),
        node_key=_key(NodeKey, row["node_key"]),
        disco_key=_key(DiscoKey, row["disco_key"]),
        tailnet_lock_key=_key(TailnetLockKey, row["tailnet_lock_key"]),
        user_id=row["user_id"],
        tags=tuple(row["tags"]),
        hostname=row["hostname"],
        name=row["name"],
        name_is_fixed=row["name_is_fixed"],
        ipv4=row["ipv4"],
        ipv6=row["ipv6"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        expired=row["expired"],
        authorized=row["authorized"],
        ephemeral=row["ephemeral"],
        auth_key_id=row["auth_key_id"],
        register_method=METHODS[row["register_method"]],
        capver=row["capver"],
        hostinfo=decode(Hostinfo, row["hostinfo"].encode(), limit=HOSTINFO_LIMIT),
        endpoints=tuple(row["endpoints"]),
        home_derp=row["home_derp"],
        approved_routes=tuple(row["approved_routes"]),
        online=row["online"],
        last_seen=row["last_seen"],
    )


def to_row(node: Node) -> tuple[object, ...]:
    """The values of COLUMNS, as the driver takes them."""
    return tuple(_column(node, name) for name in COLUMNS)


def column_value(name: str, value: object) -> object:
    """One value of COLUMNS as the driver takes it."""
    if name == "hostinfo":
        return encode(value).decode()
    if isinstance(value, IPv4Address | IPv6Address):
        return inet_ntop(AF_INET if value.version == 4 else AF_INET6, value.packed)
    return value


def _column(node: Node, name: str) -> object:
    return column_value(name, getattr(node, name))


# ── Queries ─────────────────────────────────────────────────────────────────────────────────────────────────

_OTHERS = COLUMNS[1:]
# Addresses as text: the driver takes sixteen times as long to make them binary as the server to read them.
_VALUES = ", ".join(
    f"${number}::text::inet" if name in ADDRESSES else f"${number}" for number, name in enumerate(_OTHERS, 4)
)
_MACHINE, _KEY = 4 + _OTHERS.index("machine_key"), 4 + _OTHERS.index("node_key")

INSERT = f"""
with spent as (
  update auth_keys set used_at = ${4 + _OTHERS.index("created_at")}
  where tailnet_id = $1 and id = $3 and used_at is null returning id
), counter as (
  update tailnet_settings set next_node_id = next_node_id + 1
  where tailnet_id = $1 and ($3::bigint is null or exists (select from spent))
  returning next_node_id - 1 as id
), reserved as (
  insert into node_keys (node_key, machine_key, tailnet_id, node_id)
  select ${_KEY}, ${_MACHINE}, $1, id from counter
), machine as (
  insert into machine_keys (machine_key, tailnet_id, node_id) select ${_MACHINE}, $1, id from counter
)
insert into nodes (tailnet_id, cluster_id, id, {", ".join(_OTHERS)})
select $1, $2, id, {_VALUES} from counter
returning id
"""

TAKEN = """
select w.name from unnest({names}::text[]) as w(name) where w.name = (
  select n.name from nodes n where n.tailnet_id = $1 and n.name >= w.name order by n.name limit 1)
"""
"""The order leaves the planner one index to choose. By equality, all indexes of a table that is still small
look alike to it, and a connection keeps a bad choice while the table grows."""

DELETE = """
with gone as (
  delete from nodes where tailnet_id = $1 and id = any($2::bigint[]) returning id, ipv4, ipv6
), keys as (
  update node_keys set freed_at = $4
  where tailnet_id = $1 and node_id = any($2::bigint[]) and freed_at is null
), machines as (
  delete from machine_keys where tailnet_id = $1 and node_id = any($2::bigint[])
), resting as (
  insert into freed_addresses (tailnet_id, address, cluster_id, freed_at)
  select $1, a.address, $3, $4 from gone, unnest(array[gone.ipv4, gone.ipv6]) as a(address)
  where a.address is not null
  on conflict (tailnet_id, address) do update set freed_at = excluded.freed_at
)
select id from gone
"""


async def get(tx: TailnetTx, node: NodeId) -> Node | None:
    row = await tx.fetchrow(
        f"select {SELECT} from nodes n where n.tailnet_id = $1 and n.id = $2", tx.tailnet, node
    )
    return None if row is None else from_record(row)


async def list_all(tx: TailnetTx, user: UserId | None = None) -> list[Node]:
    """By number; those of one user if given."""
    sql = f"""
    select {SELECT} from nodes n where n.tailnet_id = $1 and ($2::bigint is null or n.user_id = $2)
    order by n.id
    """
    return [from_record(row) for row in await tx.fetch(sql, tx.tailnet, user)]


async def of_machine(tx: TailnetTx, machine: MachineKey) -> list[Node]:
    """The nodes that this machine is, by number."""
    sql = f"select {SELECT} from nodes n where n.tailnet_id = $1 and n.machine_key = $2 order by n.id"
    return [from_record(row) for row in await tx.fetch(sql, tx.tailnet, machine)]


async def taken_names(tx: TailnetTx, names: Iterable[str]) -> set[str]:
    """Those of the names that a node has."""
    return {row["name"] for row in await tx.fetch(TAKEN.format(names="$2"), tx.tailnet, list(names))}


async def insert(tx: TailnetTx, node: Node, spends: KeyId | None = None) -> NodeId | None:
    """Writes a new node under the next number, with its keys in the directory, in one statement.

    `spends` is the single-use auth key that this uses up; None is returned if it was used up already.
    `node.id` is not read. Raises Conflict if the node key belongs to any node of any tailnet.
    """
    number: int | None = await tx.fetchval(INSERT, tx.tailnet, tx.head.cluster_id, spends, *to_row(node)[1:])
    return None if number is None else NodeId(number)


async def update(tx: TailnetTx, before: Node, after: Node) -> bool:
    """Writes the columns that differ. False: none does. Raises Conflict as `insert` does."""
    changed = [name for name in COLUMNS if getattr(before, name) != getattr(after, name)]
    if not changed:
        return False
    if before.node_key != after.node_key:
        await _rotate_key(tx, before, after.node_key)
    columns = ", ".join(f"{name} = ${number}" for number, name in enumerate(changed, 3))
    values = [column_value(name, getattr(after, name)) for name in changed]
    sql = f"update nodes set {columns} where tailnet_id = $1 and id = $2"
    return await tx.execute(sql, tx.tailnet, before.id, *values) == 1


async def delete(tx: TailnetTx, nodes: Collection[NodeId]) -> list[NodeId]:
    """Deletes nodes; their keys and addresses rest. Returns those that were there."""
    rows = await tx.fetch(DELETE, tx.tailnet, list(nodes), tx.head.cluster_id, tx.now)
    return [row["id"] for row in rows]


async def count_of_user(tx: TailnetTx, user: UserId) -> int:
    sql = "select count(*) from nodes where tailnet_id = $1 and user_id = $2"
    number: int = await tx.fetchval(sql, tx.tailnet, user)
    return number


async def expire(tx: TailnetTx, now: datetime, most: int) -> list[NodeId]:
    """Marks nodes whose time has come; at most so many."""
    sql = """
    update nodes set expired = true where tailnet_id = $1 and id in (
      select id from nodes where tailnet_id = $1 and expires_at <= $2 and not expired order by id limit $3)
    returning id
    """
    return [row["id"] for row in await tx.fetch(sql, tx.tailnet, now, most)]


async def abandoned(tx: TailnetTx, before: datetime, most: int) -> list[NodeId]:
    """Ephemeral nodes that were last seen (or made, if they never came) before this time."""
    sql = """
    select n.id from nodes n
    where n.tailnet_id = $1 and n.ephemeral and not n.online and coalesce(n.last_seen, n.created_at) <= $2
      and not exists (select from sessions s
                      where s.tailnet_id = $1 and s.node_id = n.id and s.ended_at is null)
    order by n.id limit $3
    """
    return [row["id"] for row in await tx.fetch(sql, tx.tailnet, before, most)]


async def longest_away(tx: TailnetTx) -> datetime | None:
    """Since when the ephemeral node that is away for longest is so; None if none is away."""
    sql = """
    select min(coalesce(last_seen, created_at)) from nodes where tailnet_id = $1 and ephemeral and not online
    """
    since: datetime | None = await tx.fetchval(sql, tx.tailnet)
    return since


async def _rotate_key(tx: TailnetTx, node: Node, key: NodeKey) -> None:
    """Reserves the new key. The one before stays the node's, so that nobody else can come with it."""
    sql = "delete from node_keys where tailnet_id = $1 and node_id = $2 and node_key <> all($3::bytea[])"
    await tx.execute(sql, tx.tailnet, node.id, [node.node_key, key])
    sql = """
    insert into node_keys (node_key, machine_key, tailnet_id, node_id) select $1, $2, $3, $4
    where not exists (select from node_keys where node_key = $1 and tailnet_id = $3 and node_id = $4)
    """
    await tx.execute(sql, key, node.machine_key, tx.tailnet, node.id)
