"""A tailnet that grows beyond what its clients can be told of its policy goes on, and so do the others."""

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial

import pytest
from structlog.testing import capture_logs
from tests.service import TESTER, service
from tests.waiting import until

from headscale_saas.actions import policies
from headscale_saas.live import compiling
from headscale_saas.policy import filtering
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.netmap import ClientNetmap

TO_ALL = '{"acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["*:22"]}]}'
ROOM = 3
JOINING = ROOM + 4


def sources(netmap: ClientNetmap) -> set[str]:
    return {address for rule in netmap.packet_filter for address in rule.src_ips}


def address(client: Client) -> str:
    return client.netmap.node.addresses[0].partition("/")[0]


def lets_in(who: str, netmap: ClientNetmap) -> bool:
    return who in sources(netmap)


def knows(who: str, netmap: ClientNetmap) -> bool:
    return any(peer.addresses[0].startswith(f"{who}/") for peer in netmap.peers.values())


async def test_newcomers_are_let_in_nowhere_while_filters_are_full_and_the_log_says_so(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtering, "MOST_FILTER_BYTES", 60 + 50 + 40 * ROOM)
    with capture_logs() as logs:
        async with service(database_dsn) as house, AsyncExitStack() as stack:
            acme, other = await house.tailnet("acme"), await house.tailnet("other")
            await policies.set_policy(house.tool, TESTER, acme.id, TO_ALL)
            clients = [await stack.enter_async_context(house.client(acme)) for _ in range(JOINING)]
            theirs = [await stack.enter_async_context(house.client(other)) for _ in range(2)]
            first = clients[0]
            for client in clients:
                await client.join(acme.key)
                await first.netmap_where(
                    partial(knows if client is not first else lets_in, address(client)), 20
                )
            for client in theirs:
                await client.join(other.key)
            await house.settled(other, *theirs)
            there, newcomers = clients[: ROOM + 1], clients[ROOM + 1 :]
            for client in clients:
                told = await client.netmap_where(partial(lets_in, address(there[-1])), 20)
                assert {address(one) for one in there} <= sources(told)
                assert not {address(one) for one in newcomers} & sources(told)
            assert _full(logs) == [acme.id]
            monkeypatch.setattr(compiling, "SMALL_TEXT", 0)  # else nobody measures a tailnet this small
            house.workers[0].worker._cache.evict(acme.id)
            await first.reconnect()
            await until(lambda: _full(logs) == [acme.id, acme.id])


def _full(logs: Iterable[Mapping[str, object]]) -> list[object]:
    return [line["tailnet"] for line in logs if line["event"] == "policy_full"]
