"""Honest clients: the upgrade, requests inside, and map streams."""

import asyncio
import json

from noise_client import MACHINE, VERSION, connected, door, dial, wait_for

from headscale_saas.tailcfg.keys import PrivateKey
from headscale_saas.transport.streams import Request, Stream


async def test_a_request_is_answered() -> None:
    async with connected() as (_, client):
        answer = client.request("POST", "/machine/register?a=1", b"{}", ts_lb="nodekey:0")
        await wait_for(lambda: answer.ended)
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body) == ["POST", "/machine/register", {"a": "1"}, {"ts-lb": "nodekey:0"}, 2]
        assert client.early.challenge is not None
