"""Who asks inside Noise. Each row gets fresh ones, so that no row depends on the rows before it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from tests.doors.table import Answer, Row
from tests.service import TESTER, Home, House
from tests.waiting import until

from headscale_saas.actions import nodes
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.replies import Reply
from headscale_saas.tailcfg.keys import NodeKey


class Actor(NamedTuple):
    """`claims` is the node key it names; `is_guest`: it is not of the tailnet that this key belongs to."""

    name: str
    client: Client
    claims: NodeKey
    is_guest: bool


@asynccontextmanager
async def actors(house: House, acme: Home, evil: Home) -> AsyncIterator[list[Actor]]:
    async with AsyncExitStack() as stack:

        async def member(home: Home) -> Client:
            client = await stack.enter_async_context(house.client(home))
            await client.register(home.key)
            return client

        node, expired, neighbour = await member(acme), await member(acme), await member(evil)
        await nodes.expire_node(house.tool, TESTER, acme.id, (await house.node_of(acme, expired)).id)
        nobody = await stack.enter_async_context(Client(house.workers[0].site, tailnet="nobody"))
        victim = node.identity.node_key
        yield [
            Actor("nobody", nobody, victim, is_guest=True),
            Actor("neighbour", neighbour, victim, is_guest=True),
            Actor("expired", expired, expired.identity.node_key, is_guest=False),
            Actor("node", node, victim, is_guest=False),
        ]


async def ask(actor: Actor, row: Row) -> Answer:
    """What it is answered; of a stream only the status. All that comes is shown to the isolation oracle."""
    client, path = actor.client, row.path or row.endpoint[1]
    method = row.method or row.endpoint[0].replace("*", "POST")
    body = row.body(client, actor.claims)
    if not row.streams:
        status, text = await client.request(method, path, body)
        return status, text.decode(errors="replace")
    reply = Reply()
    connection = await client.calls.connected()
    number = connection.start(path, body, reply, client.calls.headers(), method)
    await until(lambda: reply.status)
    if reply.status != 200:
        async with asyncio.timeout(10):
            await reply.done
    connection.cancel(number)
    client.site.oracle.check(client.mark, bytes(reply.body), path)
    return reply.status, bytes(reply.body).decode(errors="replace")
