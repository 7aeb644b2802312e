"""A policy that is set on one process holds for clients of all, at once and to the letter."""

import pytest
from tests.service import TESTER, Home, House, service

from headscale_saas.actions import policies, users
from headscale_saas.actions.policies import Put
from headscale_saas.errors import Invalid
from headscale_saas.swarm.client import Client

CLOSED = '{"acls": []}\n'
OWN_DEVICES = '{"acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]}]}\n'
TO_BOB = '{"acls": [{"action": "accept", "src": ["alice@"], "dst": ["bob@:22"]}]}\n'


async def put(house: House, home: Home, text: str) -> Put:
    """On the first process, whose doorbell the others hear."""
    return await policies.set_policy(house.workers[0].database, TESTER, home.id, text)


def peers(client: Client) -> set[str]:
    assert client.inbox.netmap is not None
    return {peer.name.partition(".")[0] for peer in client.inbox.netmap.peers.values()}


async def test_connected_clients_follow_each_policy(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        acme, other = await house.tailnet("acme"), await house.tailnet("other")
        bob = await users.create_user(house.tool, TESTER, acme.id, "bob")
        async with (
            house.client(acme, worker=0) as laptop,
            house.client(acme, worker=1) as phone,
            house.client(acme, worker=1) as desk,
            house.client(other, worker=0) as theirs,
            house.client(other, worker=1) as theirs_too,
        ):
            await laptop.join(acme.key)
            await phone.join(acme.key)
            await desk.join(await house.key(acme.id, bob.id))
            await theirs.join(other.key)
            await theirs_too.join(other.key)
            ours, everybody = (laptop, phone, desk), (theirs, theirs_too)
            await house.settled(acme, *ours)
            seen = {}
            for text in ("", CLOSED, OWN_DEVICES, TO_BOB, CLOSED):
                await put(house, acme, text)
                await house.settled(acme, *ours)
                seen[text] = [len(peers(client)) for client in ours]
            assert seen == {"": [2, 2, 2], CLOSED: [0, 0, 0], OWN_DEVICES: [1, 1, 0], TO_BOB: [1, 1, 2]}
            await policies.rollback(house.workers[1].database, TESTER, acme.id, 3)
            await house.settled(acme, *ours)
            assert [len(peers(client)) for client in ours] == seen[TO_BOB]
            with pytest.raises(Invalid):
                await put(house, acme, '{"acls": [{"action": "deny"}]}\n')
            await house.settled(acme, *ours)
            await house.settled(other, *everybody)
            assert [len(peers(client)) for client in everybody] == [1, 1]
