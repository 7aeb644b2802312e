"""A tailnet's state: load it whole, or catch up from the version one has.

The log of a tailnet is an append-only list of versions, each naming the rows it touched; a version's rows are
read from the tables as they are now. So a reader at v reads the log after v and the rows it names, and is at
the head. Where the log does not reach back to v (it is trimmed), or names more than is worth it, the reader
loads the whole: no answer needs history. Both run in one REPEATABLE READ transaction and give the same state.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import NamedTuple, TypeVar

import asyncpg
import msgspec

from headscale_saas.errors import Error, Invalid, NotFound
from headscale_saas.store import nodes, users
from headscale_saas.store.tailnets import (
    TailnetHead,
    settings_from_text,
    tailnet_from,
)
from headscale_saas.store.transactions import DirectoryTx, FeedTx
from headscale_saas.tailnet.changes import Touched, union
from headscale_saas.tailnet.model import Node, NodeId, Settings, TailnetId, User, UserId
from headscale_saas.tailnet.state import TailnetState

MOST_VERSIONS = 2000
WORTH_IT = 64
"""So many rows are always read singly; more only if they are less than half of all."""

READ_AT_ONCE = 32
"""Rows in one turn of the loop: they take a millisecond, and a large tailnet has thousands."""

TRIM_AT_ONCE = 10_000


K = TypeVar("K", NodeId, UserId)
V = TypeVar("V")


class Moved(NamedTuple):
    """A state, and what distinguishes it from the one before."""

    state: TailnetState
    touched: Touched


class Rows(NamedTuple):
    """Rows of one tailnet as they are now."""

    nodes: dict[NodeId, Node]
    users: dict[UserId, User]


class Config(NamedTuple):
    settings: Settings
    policy_text: str | None


async def catch_up(tx: FeedTx, state: TailnetState) -> Moved | None:
    """The state at the head; None if that is the state we have. Raises NotFound: the tailnet is gone."""
    moved = (await catch_up_many(tx, {state.tailnet.id: state})).get(state.tailnet.id)
    if isinstance(moved, Error):
        raise moved
    return moved


async def catch_up_many(
    tx: FeedTx, states: Mapping[TailnetId, TailnetState]
) -> dict[TailnetId, Moved | Error]:
    """Those that moved, brought to their heads. A tailnet that is gone, or whose rows cannot be read, has an
    error instead, and the others are not concerned.
    """
    heads = tx.heads
    result: dict[TailnetId, Moved | Error] = {
        id_: NotFound("there is no such tailnet", code="no_such_tailnet")
        for id_ in states
        if id_ not in heads
    }
    behind = {
        id_: state for id_, state in states.items() if id_ in heads and heads[id_].version != state.version
    }
    touched = await _touched(tx, behind, heads)
    whole = [id_ for id_, state in behind.items() if not _is_worth_it(touched.get(id_), state)]
    part = {id_: touched[id_] for id_ in behind if id_ not in whole}
    result |= await _advance(tx, behind, heads, part)
    for id_ in whole:
        result[id_] = await _reload(tx, behind[id_], heads[id_])
    return result


async def load(tx: FeedTx, tailnet: TailnetId) -> TailnetState:
    """The whole state at its head. Raises NotFound, and Invalid when its rows cannot be read."""
    if tailnet not in tx.heads:
        raise NotFound("there is no such tailnet", code="no_such_tailnet")
    return await _load(tx, tx.heads[tailnet])


async def trim(tx: DirectoryTx, older_than: timedelta) -> int:
    """Deletes at most 10,000 old log rows of all tailnets; returns how many. Call again while it is full."""
    return await tx.execute(
        "delete from changes c using"
        " (select tailnet_id, version from changes where at < now() - $1::interval order by at limit $2) old"
        " where c.tailnet_id = old.tailnet_id and c.version = old.version",
        older_than,
        TRIM_AT_ONCE,
    )


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────


async def _load(tx: FeedTx, head: TailnetHead) -> TailnetState:
    configs = await _configs(tx, [head.id])
    if head.id not in configs:
        raise Invalid("the tailnet has no settings", code="unreadable")
    node_rows = await tx.fetch(
        f"select {nodes.SELECT} from nodes n where n.tailnet_id = $1 order by n.id", head.id
    )
    user_rows = await tx.fetch(
        f"select {users.SELECT} from users u where u.tailnet_id = $1 order by u.id", head.id
    )
    read = await _read(node_rows, user_rows)
    config = _read_config(configs[head.id])
    return TailnetState(tailnet_from(head, config.settings), read.nodes, read.users, config.policy_text)


async def _touched(
    tx: FeedTx, behind: Mapping[TailnetId, TailnetState], heads: Mapping[TailnetId, TailnetHead]
) -> dict[TailnetId, Touched]:
    """What the log says, for those whose log is complete from the version we have."""
    gaps = {id_: heads[id_].version - state.version for id_, state in behind.items()}
    near = [id_ for id_, gap in gaps.items() if 0 < gap <= MOST_VERSIONS]
    if not near:
        return {}
    rows = await tx.fetch(
        "select c.tailnet_id, c.nodes, c.users, c.settings, c.policy"
        " from unnest($1::bigint[], $2::bigint[]) as known (tailnet_id, version)"
        " join changes c on c.tailnet_id = known.tailnet_id and c.version > known.version",
        near,
        [behind[id_].version for id_ in near],
    )
    logs: dict[TailnetId, list[Touched]] = defaultdict(list)
    for row in rows:
        logs[row["tailnet_id"]].append(
            Touched(
                nodes=frozenset(row["nodes"]),
                users=frozenset(row["users"]),
                settings=row["settings"],
                policy=row["policy"],
            )
        )
    return {id_: union(log) for id_, log in logs.items() if len(log) == gaps[id_]}


def _is_worth_it(touched: Touched | None, state: TailnetState) -> bool:
    if touched is None:
        return False
    count = len(touched.nodes) + len(touched.users)
    return count <= max(WORTH_IT, (len(state.nodes) + len(state.users)) // 2)


async def _configs(tx: FeedTx, tailnets: Collection[TailnetId]) -> dict[TailnetId, asyncpg.Record]:
    if not tailnets:
        return {}
    rows = await tx.fetch(
        "select tailnet_id, settings, policy from tailnet_settings where tailnet_id = any($1::bigint[])",
        list(tailnets),
    )
    return {row["tailnet_id"]: row for row in rows}


async def _rows_of(
    tx: FeedTx, select: str, table: str, ids: Mapping[TailnetId, Iterable[int]]
) -> dict[TailnetId, list[asyncpg.Record]]:
    pairs = [(tailnet, id_) for tailnet, some in ids.items() for id_ in some]
    result: dict[TailnetId, list[asyncpg.Record]] = defaultdict(list)
    if pairs:
        rows = await tx.fetch(
            f"select {table[0]}.tailnet_id, {select} from unnest($1::bigint[], $2::bigint[]) as w (t, i)"
            f" join {table} {table[0]} on {table[0]}.tailnet_id = w.t and {table[0]}.id = w.i",
            [tailnet for tailnet, _ in pairs],
            [id_ for _, id_ in pairs],
        )
        for row in rows:
            result[row["tailnet_id"]].append(row)
    return result


async def _read(node_rows: Iterable[asyncpg.Record], user_rows: Iterable[asyncpg.Record]) -> Rows:
    """Raises Invalid for rows that say what the program does not understand."""
    try:
        return Rows(
            await _by_id(node_rows, nodes.from_record),
            await _by_id(user_rows, users.from_record),
        )
    except (ValueError, KeyError) as problem:
        raise Invalid(f"a row of the tailnet cannot be read: {problem!r}", code="unreadable") from None


async def _by_id(rows: Iterable[asyncpg.Record], read: Callable[[asyncpg.Record], V]) -> dict[K, V]:
    values: dict[K, V] = {}
    for count, row in enumerate(rows, 1):
        values[row["id"]] = read(row)
        if count % READ_AT_ONCE == 0:
            await asyncio.sleep(0)
    return values


def _read_config(row: asyncpg.Record) -> Config:
    try:
        return Config(settings_from_text(row["settings"]), row["policy"])
    except msgspec.MsgspecError as problem:
        raise Invalid(f"the tailnet's settings cannot be read: {problem}", code="unreadable") from None


# ── Making the next state ───────────────────────────────────────────────────────────────────────────────────


async def _advance(
    tx: FeedTx,
    behind: Mapping[TailnetId, TailnetState],
    heads: Mapping[TailnetId, TailnetHead],
    touched: Mapping[TailnetId, Touched],
) -> dict[TailnetId, Moved | Error]:
    """One query for each table that was touched, for all these tailnets together."""
    if not touched:
        return {}
    node_rows = await _rows_of(tx, nodes.SELECT, "nodes", {id_: part.nodes for id_, part in touched.items()})
    user_rows = await _rows_of(tx, users.SELECT, "users", {id_: part.users for id_, part in touched.items()})
    configs = await _configs(tx, [id_ for id_, part in touched.items() if part.settings or part.policy])
    result: dict[TailnetId, Moved | Error] = {}
    for id_, part in touched.items():
        try:
            rows = await _read(node_rows[id_], user_rows[id_])
            config = _read_config(configs[id_]) if id_ in configs else _config_of(behind[id_])
            result[id_] = Moved(_next(behind[id_], heads[id_], part, rows, config), part)
        except Error as problem:
            result[id_] = problem
    return result


def _next(
    state: TailnetState, head: TailnetHead, touched: Touched, rows: Rows, config: Config
) -> TailnetState:
    return state.replace(
        tailnet_from(head, config.settings),
        _fresh(state.nodes, rows.nodes, touched.nodes),
        _fresh(state.users, rows.users, touched.users),
        config.policy_text,
    )


def _fresh(before: Mapping[K, V], now: Mapping[K, V], ids: Iterable[K]) -> dict[K, V | None]:
    """The rows that did change, None for those that are gone: an equal row stays the very same value."""
    return {id_: now.get(id_) for id_ in ids if before.get(id_) != now.get(id_)}


def _config_of(state: TailnetState) -> Config:
    return Config(state.tailnet.settings, state.policy_text)


async def _reload(tx: FeedTx, before: TailnetState, head: TailnetHead) -> Moved | Error:
    try:
        after = await _load(tx, head)
    except Invalid as problem:
        return problem
    touched = difference(before, after)
    return Moved(_sharing(before, after, touched), touched)


def difference(before: TailnetState, after: TailnetState) -> Touched:
    """What a log between the two would have touched at least."""
    return Touched(
        nodes=_changed(before.nodes, after.nodes),
        users=_changed(before.users, after.users),
        settings=_without_version(before) != _without_version(after),
        policy=before.policy_text != after.policy_text,
    )


def _sharing(before: TailnetState, after: TailnetState, touched: Touched) -> TailnetState:
    """`after`, but with the very rows of `before` where nothing changed: others compare them with `is`."""
    return before.replace(
        after.tailnet,
        _fresh(before.nodes, after.nodes, touched.nodes),
        _fresh(before.users, after.users, touched.users),
        after.policy_text,
    )


def _without_version(state: TailnetState) -> object:
    tailnet = state.tailnet
    return tailnet.name, tailnet.cluster_id, tailnet.settings


def _changed(before: Mapping[K, object], after: Mapping[K, object]) -> frozenset[K]:
    gone = before.keys() - after.keys()
    return frozenset(gone | {id_ for id_, row in after.items() if before.get(id_) != row})
