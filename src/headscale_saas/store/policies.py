"""Policies: the text in force, its versions, and the rows that a policy is checked against."""

from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import msgspec

from headscale_saas.store import nodes, users
from headscale_saas.store.settings import from_text as settings_from_text
from headscale_saas.store.tailnets import tailnet_from
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, Node, Version
from headscale_saas.tailnet.state import TailnetState

KEPT = 200
KEPT_BYTES = 16 << 20
"""The newest versions are kept: at most so many, and so much text; always the one in force."""


class PolicyVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One policy that the tailnet had, without its text.

    `number` counts from 1 within the tailnet, and a number is never given twice. `etag` is the text's SHA-256
    in hex, `size` its bytes. `author` set it. `rolled_back_from` is the version whose text it took over; that
    one may be gone by now. An empty text means that there was no policy.
    """

    number: int
    etag: str
    size: int
    author: Actor
    at: datetime
    comment: str = ""
    rolled_back_from: int | None = None


class PolicyRow(NamedTuple):
    """The text in force ("": none), and its version (None: there never was a policy)."""

    text: str
    version: PolicyVersion | None


class Rows(NamedTuple):
    """What a state is made of, not decoded yet: with ten thousand nodes that is work for a thread."""

    version: Version
    tailnet: asyncpg.Record
    nodes: list[asyncpg.Record]
    users: list[asyncpg.Record]
    head: Any

    def state(self) -> TailnetState:
        """All rows as values."""
        return TailnetState(
            tailnet_from(self.head, settings_from_text(self.tailnet["settings"])),
            {row["id"]: nodes.from_record(row) for row in self.nodes},
            {row["id"]: users.from_record(row) for row in self.users},
            self.tailnet["policy"],
        )


# ── Queries ─────────────────────────────────────────────────────────────────────────────────────────────────

SELECT = "v.number, v.etag, v.size, v.actor_kind, v.actor, v.origin, v.at, v.comment, v.rolled_back_from"
NEWEST = "v.number = (select max(number) from policy_versions where tailnet_id = $1)"

IN_FORCE = f"""
select s.policy, {SELECT} from tailnet_settings s
left join policy_versions v on v.tailnet_id = s.tailnet_id and {NEWEST}
where s.tailnet_id = $1
"""

INSERT = f"""
with in_force as (
  update tailnet_settings set policy = nullif($3, '') where tailnet_id = $1
)
insert into policy_versions as v
  (tailnet_id, cluster_id, number, text, size, etag, actor_kind, actor, origin, at, comment, rolled_back_from)
select $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11::bigint
from policy_versions where tailnet_id = $1
returning {SELECT}
"""

TRIM = """
with ranked as (
  select number, row_number() over newest_first as place, sum(size) over newest_first as total
  from policy_versions where tailnet_id = $1
  window newest_first as (order by number desc)
)
delete from policy_versions v using ranked r
where v.tailnet_id = $1 and v.number = r.number and r.place > 1 and (r.place > $2 or r.total > $3)
"""


ETAG_IN_FORCE = """
case when s.policy is not null then
  coalesce((select etag from policy_versions where tailnet_id = $1 order by number desc limit 1), '')
end
"""
"""As `etag_in_force` returns it, beside a row `s` of tailnet_settings."""


async def etag_in_force(tx: TailnetTx) -> str | None:
    """None: there is no policy; "": one that never became a version."""
    sql = f"select {ETAG_IN_FORCE} from tailnet_settings s where s.tailnet_id = $1"
    etag: str | None = await tx.fetchval(sql, tx.tailnet)
    return etag


async def text_in_force(tx: TailnetTx) -> str:
    """ "" where there is none."""
    text: str | None = await tx.fetchval(
        "select policy from tailnet_settings where tailnet_id = $1", tx.tailnet
    )
    return text or ""


async def in_force(tx: TailnetTx) -> PolicyRow:
    row = await tx.fetchrow(IN_FORCE, tx.tailnet)
    assert row is not None
    return PolicyRow(row["policy"] or "", None if row["number"] is None else _from_record(row))


async def get(tx: TailnetTx, number: int) -> PolicyRow | None:
    """One version; None if it is not there (any more)."""
    sql = f"select v.text, {SELECT} from policy_versions v where v.tailnet_id = $1 and v.number = $2"
    row = await tx.fetchrow(sql, tx.tailnet, number)
    return None if row is None else PolicyRow(row["text"], _from_record(row))


async def list_versions(tx: TailnetTx, most: int = KEPT) -> list[PolicyVersion]:
    """The newest first."""
    sql = f"select {SELECT} from policy_versions v where v.tailnet_id = $1 order by v.number desc limit $2"
    return [_from_record(row) for row in await tx.fetch(sql, tx.tailnet, most)]


async def put(
    tx: TailnetTx, author: Actor, text: str, etag: str, comment: str, rolled_back_from: int | None
) -> PolicyVersion:
    """Puts the text in force, as the next version, and forgets what is too old."""
    row = await tx.fetchrow(
        INSERT,
        *(tx.tailnet, tx.head.cluster_id, text, len(text.encode()), etag),
        *(author.kind, author.name, author.origin, tx.now, comment, rolled_back_from),
    )
    assert row is not None
    await tx.execute(TRIM, tx.tailnet, KEPT, KEPT_BYTES)
    return _from_record(row)


async def rows(tx: TailnetTx) -> Rows:
    """The whole tailnet as the transaction sees it."""
    own = await tx.fetchrow("select settings, policy from tailnet_settings where tailnet_id = $1", tx.tailnet)
    assert own is not None
    return Rows(
        tx.head.version,
        own,
        await tx.fetch(
            f"select {nodes.SELECT} from nodes n where n.tailnet_id = $1 order by n.id", tx.tailnet
        ),
        await tx.fetch(
            f"select {users.SELECT} from users u where u.tailnet_id = $1 order by u.id", tx.tailnet
        ),
        tx.head,
    )


async def routers(tx: TailnetTx) -> list[Node]:
    """The nodes that advertise routes, by number."""
    # Absent where there are none. A name that has this text in it has its quotes escaped.
    sql = f"""
    select {nodes.SELECT} from nodes n
    where n.tailnet_id = $1 and n.hostinfo like '%"RoutableIPs"%' order by n.id
    """
    return [nodes.from_record(row) for row in await tx.fetch(sql, tx.tailnet)]


def _from_record(row: Any) -> PolicyVersion:
    return PolicyVersion(
        number=row["number"],
        etag=row["etag"],
        size=row["size"],
        author=Actor(kind=row["actor_kind"], name=row["actor"], origin=row["origin"]),
        at=row["at"],
        comment=row["comment"],
        rolled_back_from=row["rolled_back_from"],
    )
