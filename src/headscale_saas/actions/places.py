"""What a node is given: its addresses and its name."""

import secrets
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from headscale_saas.errors import LimitReached
from headscale_saas.store import addresses as resting
from headscale_saas.store import nodes
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet import addresses, names
from headscale_saas.tailnet.addresses import Address, Prefix
from headscale_saas.tailnet.model import Allocation, Node, Settings
from headscale_saas.tailnet.names import Search


async def ipv4(tx: TailnetTx, settings: Settings, highest: Address | None = None) -> IPv4Address | None:
    """A free address; None if the tailnet has no such range. Raises LimitReached.

    `highest` is the highest of this family in use or resting, whatever range it is in; None: not known.
    """
    prefix = settings.prefix_v4
    found = None if prefix is None else await _address(tx, prefix, settings.allocation, highest)
    assert not isinstance(found, IPv6Address)
    return found


async def ipv4_beside_pools(
    tx: TailnetTx, settings: Settings, pools: Sequence[IPv4Network]
) -> IPv4Address | None:
    """Where the policy has address pools: from the first of the node's own that has one free. A node without
    gets the lowest free one, away from where pools usually are. Pools outside the tailnet's range do not
    count. Raises LimitReached.
    """
    prefix = settings.prefix_v4
    if prefix is None:
        return None
    usable = [pool for pool in pools if pool.subnet_of(prefix)]
    if not usable:
        lowest = await resting.lowest_gap(tx, prefix)
        return lowest if isinstance(lowest, IPv4Address) else await ipv4(tx, settings)
    for pool in usable:
        if found := await _in_pool(tx, pool, settings.allocation):
            return found
    raise addresses.exhausted(usable[-1])


async def _in_pool(tx: TailnetTx, pool: IPv4Network, allocation: Allocation) -> IPv4Address | None:
    if pool.num_addresses == 1:
        found = await resting.free_among(tx, pool, [pool.network_address])
    else:
        try:
            found = await _address(tx, pool, allocation, None)
        except LimitReached:
            return None
    assert not isinstance(found, IPv6Address)
    return found


async def ipv6(tx: TailnetTx, settings: Settings, highest: Address | None = None) -> IPv6Address | None:
    """As `ipv4`."""
    prefix = settings.prefix_v6
    found = None if prefix is None else await _address(tx, prefix, settings.allocation, highest)
    assert not isinstance(found, IPv4Address)
    return found


async def _address(tx: TailnetTx, prefix: Prefix, allocation: Allocation, highest: Address | None) -> Address:
    found = None
    if allocation is Allocation.RANDOM:
        candidates = list(addresses.at_random(prefix, secrets.randbelow))
        found = await resting.free_among(tx, prefix, candidates)
    elif highest is not None and highest in prefix:
        found = addresses.after(prefix, highest)
    else:
        found = addresses.after(prefix, await resting.highest(tx, prefix))
    found = found or await resting.lowest_gap(tx, prefix)
    found = found or await resting.take_longest_resting(tx, prefix)
    if found is None:
        raise addresses.exhausted(prefix)
    return found


async def free_name(tx: TailnetTx, search: Search) -> str:
    """The name that a search ends with, asking as often as it takes."""
    while search.found is None:
        asked = names.probes(search)
        search = names.narrowed(search, asked, await nodes.taken_names(tx, asked))
    return search.found


async def name_for(tx: TailnetTx, node: Node, hostname: str) -> str:
    """The name of a node whose device calls itself so now; the one it has, if that still fits."""
    label = names.sanitised(hostname)
    if node.name_is_fixed or names.belongs_to(node.name, label):
        return node.name
    return await free_name(tx, names.search(label))
