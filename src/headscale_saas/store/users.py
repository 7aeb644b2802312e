"""Users: row <-> value, and the queries."""

from collections.abc import Collection
from typing import Any

from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Role, User, UserId

COLUMNS = (
    "id", "name", "display_name", "email", "provider", "provider_id", "role", "groups", "picture_url",
    "created_at",
)  # fmt: skip
"""The columns a User is made of, in the order of `to_row`."""

SELECT = ", ".join(f"u.{name}" for name in COLUMNS)
"""The select list, for a table aliased `u`."""

ROLES = {role.value: role for role in Role}


def from_record(row: Any) -> User:
    """A row with all of COLUMNS."""
    return User(
        id=row["id"],
        name=row["name"],
        display_name=row["display_name"],
        email=row["email"],
        provider=row["provider"],
        provider_id=row["provider_id"],
        role=ROLES[row["role"]],
        groups=tuple(row["groups"]),
        picture_url=row["picture_url"],
        created_at=row["created_at"],
    )


def to_row(user: User) -> tuple[object, ...]:
    """The values of COLUMNS, as the driver takes them."""
    return tuple(getattr(user, name) for name in COLUMNS)


# ── Queries ─────────────────────────────────────────────────────────────────────────────────────────────────

INSERT = f"""
with counter as (
  update tailnet_settings set next_user_id = next_user_id + 1 where tailnet_id = $1
  returning next_user_id - 1 as id
)
insert into users (tailnet_id, cluster_id, id, {", ".join(COLUMNS[1:])})
select $1, $2, id, {", ".join(f"${number}" for number in range(3, 2 + len(COLUMNS)))} from counter
returning id
"""


async def insert(tx: TailnetTx, user: User) -> UserId:
    """Writes a new user under the next number; `user.id` is not read. Raises Conflict (the name is taken)."""
    number: int = await tx.fetchval(INSERT, tx.tailnet, tx.head.cluster_id, *to_row(user)[1:])
    return UserId(number)


async def get(tx: TailnetTx, user: UserId) -> User | None:
    row = await tx.fetchrow(
        f"select {SELECT} from users u where u.tailnet_id = $1 and u.id = $2", tx.tailnet, user
    )
    return None if row is None else from_record(row)


async def find(
    tx: TailnetTx, *, user: UserId | None = None, name: str | None = None, email: str | None = None
) -> list[User]:
    """Those that meet every condition that is given, by number."""
    sql = f"""
    select {SELECT} from users u where u.tailnet_id = $1 and ($2::bigint is null or u.id = $2)
      and ($3::text is null or u.name = $3) and ($4::text is null or u.email = $4)
    order by u.id
    """
    return [from_record(row) for row in await tx.fetch(sql, tx.tailnet, user, name, email)]


async def called(tx: TailnetTx, words: Collection[str]) -> list[User]:
    """Those whom a policy could mean by one of these words: as login, identifier, or `name@`."""
    sql = f"""
    select {SELECT} from users u where u.tailnet_id = $1
      and (u.name = any($2) or u.email = any($2) or u.provider_id = any($2) or u.name || '@' = any($2))
    order by u.id
    """
    return [from_record(row) for row in await tx.fetch(sql, tx.tailnet, list(words))]


async def rename(tx: TailnetTx, user: UserId, name: str) -> bool:
    sql = "update users set name = $3 where tailnet_id = $1 and id = $2"
    return await tx.execute(sql, tx.tailnet, user, name) == 1


async def delete(tx: TailnetTx, user: UserId) -> bool:
    """Raises Conflict while it owns nodes or auth keys."""
    sql = "delete from users where tailnet_id = $1 and id = $2"
    return await tx.execute(sql, tx.tailnet, user) == 1
