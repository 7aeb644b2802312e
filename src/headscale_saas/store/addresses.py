"""Addresses: what is in use, what rests, what is free. The unique constraints of `nodes` are the guard."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.addresses import RESERVED, Address, Prefix, gap_starts, last

HIGHEST = """
select greatest(
  (select {column} from nodes where tailnet_id = $1 and {column} between $2 and $3
   order by {column} desc limit 1),
  (select address from freed_addresses where tailnet_id = $1 and address between $2 and $3
   order by address desc limit 1))
"""

FREE_AMONG = """
select c.address from unnest($2::inet[]) with ordinality as c(address, i)
where not exists (select from nodes where tailnet_id = $1 and {column} = c.address)
  and not exists (select from freed_addresses where tailnet_id = $1 and address = c.address)
order by c.i limit 1
"""

LOWEST_GAP = """
select s.address from (
  select unnest($4::inet[]) as address
  union select {column} + 1 from nodes where tailnet_id = $1 and {column} between $2 and $3
  union select address + 1 from freed_addresses where tailnet_id = $1 and address between $2 and $3
) s
where s.address between $2 and $3 and not s.address <<= any($5::inet[])
  and not exists (select from nodes where tailnet_id = $1 and {column} = s.address)
  and not exists (select from freed_addresses where tailnet_id = $1 and address = s.address)
order by s.address limit 1
"""

LONGEST_RESTING = """
delete from freed_addresses where tailnet_id = $1 and address = (
  select address from freed_addresses where tailnet_id = $1 and address between $2 and $3
  order by freed_at, address limit 1)
returning address
"""


async def highest(tx: TailnetTx, prefix: Prefix) -> Address | None:
    """The highest address of the range that is in use or resting."""
    sql = HIGHEST.format(column=_column(prefix))
    found: Address | None = await tx.fetchval(sql, tx.tailnet, prefix.network_address, last(prefix))
    return found


async def free_among(tx: TailnetTx, prefix: Prefix, candidates: Sequence[Address]) -> Address | None:
    """The first of these that is neither in use nor resting."""
    sql = FREE_AMONG.format(column=_column(prefix))
    found: Address | None = await tx.fetchval(sql, tx.tailnet, candidates)
    return found


async def lowest_gap(tx: TailnetTx, prefix: Prefix) -> Address | None:
    """The lowest address that is neither in use nor resting. Reads the whole index: for full ranges only."""
    reserved = [r for r in RESERVED if r.version == prefix.version]
    bounds = (prefix.network_address + 1, last(prefix))
    sql = LOWEST_GAP.format(column=_column(prefix))
    found: Address | None = await tx.fetchval(sql, tx.tailnet, *bounds, gap_starts(prefix), reserved)
    return found


async def take_longest_resting(tx: TailnetTx, prefix: Prefix) -> Address | None:
    """Ends the rest of the address that has rested longest."""
    bounds = (prefix.network_address + 1, last(prefix))
    found: Address | None = await tx.fetchval(LONGEST_RESTING, tx.tailnet, *bounds)
    return found


async def rest(tx: TailnetTx, addresses: Iterable[Address | None]) -> None:
    """Addresses that were given back."""
    sql = """
    insert into freed_addresses (tailnet_id, address, cluster_id, freed_at)
    select $1, unnest($2::inet[]), $3, $4
    on conflict (tailnet_id, address) do update set freed_at = excluded.freed_at
    """
    freed = [address for address in addresses if address is not None]
    await tx.execute(sql, tx.tailnet, freed, tx.head.cluster_id, tx.now)


async def wake(tx: TailnetTx, before: datetime) -> int:
    """Ends the rest of addresses that were given back at or before this time."""
    sql = "delete from freed_addresses where tailnet_id = $1 and freed_at <= $2"
    return await tx.execute(sql, tx.tailnet, before)


def _column(prefix: Prefix) -> str:
    return f"ipv{prefix.version}"
