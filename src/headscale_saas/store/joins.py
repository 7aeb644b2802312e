"""What a registration has to know of its tailnet, in one statement. (Which tailnet: `newcomers`.)"""

from collections.abc import Collection
from typing import Any

import msgspec

from headscale_saas.store import auth_keys, nodes, policies, settings, users
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailnet.addresses import Address
from headscale_saas.tailnet.model import AuthKey, Node, Settings, User, UserId

_KEY = ", ".join(f"k.{name} as key_{name}" for name in auth_keys.COLUMNS)
_USER = ", ".join(f"u.{name} as user_{name}" for name in users.COLUMNS)
_NODE = ", ".join(f"n.{name} as node_{name}" for name in nodes.COLUMNS)

# Each look is for one row by a whole key, and stays so: `offset 0` and sub-selects keep the planner, which
# knows the average tailnet, from reading all rows of one that is a thousand times larger. (See also
# `nodes.TAKEN`.)
FACTS = f"""
with device as (
  select node_id from machine_keys where machine_key = $5 and tailnet_id = $1
  union select node_id from node_keys where node_key = $6 and tailnet_id = $1
)
select s.settings, {policies.ETAG_IN_FORCE} as policy_etag, {_KEY}, {_USER}, {_NODE},
  array({nodes.TAKEN.format(names="$4")}) as names,
  greatest((select ipv4 from nodes where tailnet_id = $1 and ipv4 is not null order by ipv4 desc limit 1),
           (select address from freed_addresses where tailnet_id = $1 and address < '::'
            order by address desc limit 1)) as ipv4,
  greatest((select ipv6 from nodes where tailnet_id = $1 and ipv6 is not null order by ipv6 desc limit 1),
           (select address from freed_addresses where tailnet_id = $1 and address >= '::'
            order by address desc limit 1)) as ipv6
from tailnet_settings s
left join auth_keys k on k.tailnet_id = $1 and k.prefix = $2
left join users u on u.tailnet_id = $1 and u.id = coalesce(k.user_id, $3)
left join device d on true
left join lateral (select * from nodes where tailnet_id = $1 and id = d.node_id offset 0) n on true
where s.tailnet_id = $1 order by n.id
"""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """`user` is the auth key's, or the one asked for. `names` are those of the asked that are taken. Without
    a policy `policy_etag` is None.

    `here` are the nodes with the machine key or the node key. `ipv4` and `ipv6` are the highest in use or
    resting, of any range; None: there is none.
    """

    settings: Settings
    policy_etag: str | None
    auth_key: AuthKey | None
    user: User | None
    names: frozenset[str]
    here: list[Node]
    ipv4: Address | None
    ipv6: Address | None


async def facts(
    tx: TailnetTx,
    machine_key: MachineKey,
    node_key: NodeKey,
    names: Collection[str] = (),
    *,
    prefix: str | None = None,
    user: UserId | None = None,
) -> Facts:
    """`prefix` is that of an auth key; `user` who approved, where there is no key."""
    rows = await tx.fetch(FACTS, tx.tailnet, prefix, user, list(names), machine_key, node_key)
    row: Any = rows[0]
    return Facts(
        settings=settings.from_text(row["settings"]),
        policy_etag=row["policy_etag"],
        auth_key=None if row["key_id"] is None else auth_keys.from_record(_Part("key_", row)),
        user=None if row["user_id"] is None else users.from_record(_Part("user_", row)),
        names=frozenset(row["names"]),
        here=[nodes.from_record(_Part("node_", row)) for row in rows if row["node_id"] is not None],
        ipv4=row["ipv4"],
        ipv6=row["ipv6"],
    )


class _Part:
    """The columns of one table in a row of several."""

    __slots__ = ("_prefix", "_row")

    def __init__(self, prefix: str, row: Any) -> None:
        self._prefix = prefix
        self._row = row

    def __getitem__(self, name: str) -> Any:
        return self._row[self._prefix + name]
