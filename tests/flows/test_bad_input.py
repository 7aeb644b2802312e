"""What a hostile or broken client may say inside Noise: a clear answer, nothing written, nobody harmed."""

import asyncio
import copy
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from msgspec.structs import replace
from tests.service import Home, House, service

from headscale_saas.errors import Error, Refused
from headscale_saas.noise_keys import public_half
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.sayings import LOGOUT, Said, map_request, register_request
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.keys import NodeKey
from headscale_saas.tailcfg.register import RegisterRequest

MIB = 1 << 20
POSTED = ("/machine/register", "/machine/map", "/machine/feature/query")

NO_MESSAGE = {
    "nothing": b"",
    "no JSON": b"\xff\xfe{",
    "cut short": b'{"Version":142,"NodeKey":"nodekey:',
    "two values": b'{"Version":142}{"Version":142}',
    "something behind it": b'{"Version":142} x',
    "a list": b"[]",
    "a number": b"7",
    "wrong types": b'{"Version":"new","NodeKey":7,"Stream":"yes","Hostinfo":[],"feature":{}}',
    "a key that is none": b'{"Version":142,"NodeKey":"nodekey:zz"}',
    "a huge number": b'{"Version":' + b"9" * 400 + b"}",
    "deep nesting": b'{"Hostinfo":' * 20_000,
    "a NUL": b'{"Version":142,"feature":"a\\u0000b","Hostinfo":{"Hostname":"a\\u0000b"}}',
    "a lone surrogate": b'{"Version":142,"Hostinfo":{"Hostname":"\\ud800"}}',
}


@asynccontextmanager
async def scene(dsn: str) -> AsyncIterator[tuple[House, Home, Client, Client]]:
    """A victim, and an attacker who is a node of another tailnet. The victim must not notice."""
    async with service(dsn) as house:
        acme, evil = await house.tailnet("acme"), await house.tailnet("evil")
        async with house.client(acme) as victim, house.client(evil) as attacker:
            await victim.join(acme.key)
            await attacker.join(evil.key)
            await house.settled(acme, victim)
            before = await everything(house, acme)
            yield house, acme, victim, attacker
            assert await everything(house, acme) == before
            await house.settled(acme, victim)
            assert victim.inbox.full_netmaps == 1
            assert not victim.troubles
            assert all(running.runs for running in house.workers)


async def everything(house: House, home: Home) -> list[object]:
    """All rows of a tailnet, apart from who is connected and what was refused."""
    rows: list[object] = []
    for table in ("nodes", "users", "auth_keys", "tailnet_settings", "changes", "node_keys"):
        column = "tailnet_id"
        found = await house.sql(f"select to_jsonb(t) as row from {table} t where {column} = $1", home.id)
        rows += sorted(row["row"] for row in found)
    return rows


@pytest.mark.parametrize("what", NO_MESSAGE)
async def test_what_is_no_message_is_refused_in_words(database_dsn: str, what: str) -> None:
    async with scene(database_dsn) as (_, _, _, attacker):
        for path in POSTED:
            status, body = await attacker.request("POST", path, NO_MESSAGE[what])
            # A zero key, or no feature, is a message; it is refused for what it says.
            assert status in (400, 404), (path, status, body)
            assert 0 < len(body) <= 200
            assert b"Traceback" not in body


async def test_a_body_past_a_mebibyte_is_refused_and_the_connection_lives(database_dsn: str) -> None:
    async with scene(database_dsn) as (_, _, _, attacker):
        for path in POSTED:
            assert (await attacker.request("POST", path, b" " * (MIB + 1)))[0] == 413
            status, _ = await attacker.request("POST", path, b" " * (MIB - 2) + b"{}")
            assert status in (200, 400, 404)
        assert (await attacker.request("GET", "/machine/whoami"))[0] == 200


async def test_unknown_endpoints_and_wrong_methods_are_told_so(database_dsn: str) -> None:
    async with scene(database_dsn) as (_, _, victim, attacker):
        body = encode(map_request(victim.said, stream=True))
        for method, path in (
            ("GET", "/machine/map"),
            ("GET", "/machine/register"),
            ("PUT", "/machine/map"),
            ("DELETE", "/machine/register"),
            ("POST", "/machine/no-such-thing"),
            ("POST", "/machine/../machine/map"),
            ("POST", "/"),
            ("POST", "/key"),
            ("GET", "/machine/map/"),
        ):
            status, said = await attacker.request(method, path, body)
            assert status in (400, 404, 405), (method, path, status)
            assert said
        for path in ("/machine/set-dns", "/machine/id-token", "/machine/tka/init/begin"):
            assert (await attacker.request("POST", path, b"{}"))[0] == 501


async def test_a_node_key_that_nobody_knows_is_not_found(database_dsn: str) -> None:
    async with scene(database_dsn) as (_, _, _, attacker):
        for key in (NodeKey(os.urandom(32)), NodeKey.zero()):
            said = replace_key(attacker, key)
            for stream in (True, False):
                status, body = await attacker.request(
                    "POST", "/machine/map", encode(map_request(said, stream=stream))
                )
                assert (status, body) == (404, b"node not found")


def replace_key(client: Client, key: NodeKey) -> Said:
    """What the client says, but of another node key."""
    said = copy.copy(client.said)
    said.identity = copy.copy(client.said.identity)
    said.identity.node_key = key
    return said


async def test_with_the_node_key_of_another_machine_nothing_can_be_done(database_dsn: str) -> None:
    """T-25: own machine key, the victim's node key, at every endpoint."""
    async with scene(database_dsn) as (house, acme, victim, attacker):
        said = replace_key(attacker, victim.identity.node_key)
        stranger = Client(attacker.site, tailnet="nobody")
        for who in (attacker, stranger):
            for request in (map_request(said, stream=True), map_request(said, stream=False)):
                for variant in (
                    request,
                    replace(request, read_only=True),
                    replace(request, omit_peers=False),
                ):
                    status, body = await who.request("POST", "/machine/map", encode(variant))
                    assert (status, body) == (404, b"node not found")
            for wish in registrations(victim, acme):
                answer = await who.request("POST", "/machine/register", encode(wish))
                assert answer[0] == 200
                assert b'"Error":"' in answer[1], answer
                assert acme.name.encode() not in answer[1]
            for path in ("/machine/update-health", "/machine/audit-log"):
                body = b'{"NodeKey":"%s"}' % str(victim.identity.node_key).encode()
                assert (await who.request("POST", path, body))[0] == 200
        assert (await house.node_of(acme, victim)).machine_key == public_half(victim.identity.machine)
        await stranger.close()


def registrations(victim: Client, home: Home) -> list[RegisterRequest]:
    """A login, one with a good key, a logout, a follow-up; with the key as the new one and as the old one."""
    plain = register_request(
        victim.said, auth_key="", followup="", expiry=None, ephemeral=False, tailnet=home.name
    )
    new = replace(plain, node_key=NodeKey(os.urandom(32)), old_node_key=victim.identity.node_key)
    keyed = register_request(
        victim.said, auth_key=home.key, followup="", expiry=None, ephemeral=False, tailnet=""
    )
    followup = "http://127.0.0.1:8080/register/hskey-authreq-aaaaaaaaaaaaaaaaaaaaaaaa"
    return [
        plain,
        keyed,
        new,
        replace(plain, expiry=LOGOUT),
        replace(keyed, expiry=LOGOUT),
        replace(plain, followup=followup),
    ]


async def test_a_tailnet_named_by_the_client_opens_nothing(database_dsn: str) -> None:
    async with scene(database_dsn) as (house, acme, _, attacker):
        async with Client(attacker.site, tailnet="nobody") as stranger:
            response = await stranger.register(tailnet=acme.name)
            assert response.auth_url
            with pytest.raises(Refused):
                await stranger.register("hskey-auth-no-such-key-at-all", tailnet=acme.name)
        assert len(await house.sql("select 1 from nodes where tailnet_id = $1", acme.id)) == 1


async def test_answers_to_pings_are_taken_without_a_body(database_dsn: str) -> None:
    """What is not read by the client would eat its window."""
    async with scene(database_dsn) as (_, _, _, attacker):
        for method, path in (
            ("HEAD", "/machine/ping-response"),
            ("POST", "/machine/ping-response"),
            ("POST", "/machine/c2n/some-id"),
        ):
            answer = b"HTTP/1.1 200 OK\r\n\r\nfine"
            assert await attacker.request(method, path, answer) == (204, b"")


async def test_a_crowd_of_bad_requests_harms_nobody(database_dsn: str) -> None:
    async with scene(database_dsn) as (_, _, _, attacker):

        async def one(number: int) -> None:
            body = list(NO_MESSAGE.values())[number % len(NO_MESSAGE)]
            with suppress(Error, OSError):  # its budgets may end the connection
                await attacker.request("POST", POSTED[number % len(POSTED)], body)

        for _ in range(5):
            await asyncio.gather(*(one(number) for number in range(60)))
