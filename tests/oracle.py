"""The consistency oracle: what a client was told bit by bit is the whole that the database yields for it.

The whole is made here from a fresh read of the rows, without any cache, as the netmap of a session that
starts now; both sides are merged by the simulated client's rules, which are written from what clients do.
"""

from collections.abc import Iterable, Iterator

from headscale_saas.config import Config
from headscale_saas.config.addresses import host_of
from headscale_saas.live.derp_source import DerpSource
from headscale_saas.netmap import full
from headscale_saas.netmap.view import Environment, view_of
from headscale_saas.policy import compile_policy
from headscale_saas.store import changelog
from headscale_saas.store.database import Database
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.netmap import ClientNetmap
from headscale_saas.tailcfg.keys import NodeKey
from headscale_saas.tailnet.model import TailnetId


async def expected(
    database: Database, config: Config, tailnet: TailnetId, wanted: Iterable[NodeKey]
) -> dict[NodeKey, ClientNetmap]:
    """The netmaps of these nodes, by node key, from the rows of this moment."""
    environment = Environment(DerpSource(config.derp.paths, (), None).current, host_of(config.server_url))
    async with database.feed([tailnet]) as feed:
        state = await changelog.load(feed, tailnet)
    compiled = compile_policy(state.policy_text, state)
    keys, netmaps = set(wanted), {}
    for node in state.nodes.values():
        if node.node_key in keys:
            told = full.full_response(view_of(state, compiled, node, environment), node.created_at)
            netmaps[node.node_key] = ClientNetmap()
            netmaps[node.node_key].apply_json(told)
    return netmaps


async def differences(
    database: Database, config: Config, tailnet: TailnetId, clients: Iterable[Client]
) -> list[str]:
    """What is not as it must be, for people; [] if each client knows exactly what it must."""
    of_tailnet = list(clients)
    netmaps = await expected(database, config, tailnet, [client.identity.node_key for client in of_tailnet])
    return [line for client in of_tailnet for line in _compare(client, netmaps.get(client.identity.node_key))]


def _compare(client: Client, must: ClientNetmap | None) -> Iterator[str]:
    has = client.inbox.netmap
    if must is None or has is None:
        yield f"{client.hostname} has {'a' if has else 'no'} netmap and {'a' if must else 'no'} node"
        return
    is_, ought = has.told(), must.told()
    if is_["peers"] != ought["peers"]:
        yield from _compare_peers(client.hostname, is_.pop("peers"), ought.pop("peers"))
    for name in ought:
        if name in is_ and is_[name] != ought[name]:
            yield f"{client.hostname} believes of {name}: {is_[name]!r}, not {ought[name]!r}"
    addresses = [address for node in (has.node, *has.peers.values()) if node for address in node.addresses]
    if len(addresses) != len(set(addresses)):
        yield f"{client.hostname} was told one address twice: {sorted(map(str, addresses))}"


def _compare_peers(who: str, is_: dict[int, object], ought: dict[int, object]) -> Iterator[str]:
    if is_.keys() != ought.keys():
        extra, missing = sorted(is_.keys() - ought.keys()), sorted(ought.keys() - is_.keys())
        yield f"{who} knows peers too many {extra[:10]} and misses {missing[:10]}"
    for node_id in is_.keys() & ought.keys():
        if is_[node_id] != ought[node_id]:
            yield f"{who} believes of peer {node_id}: {is_[node_id]!r}, not {ought[node_id]!r}"
            return
