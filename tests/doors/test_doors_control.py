"""Every endpoint that nodes or anybody can reach, asked by everybody."""

import asyncio
import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.doors.actors import Actor, actors, ask
from tests.doors.table import ABSENT, MACHINE, PUBLIC, UPGRADES, Answer, Row
from tests.service import Home, House, service

from headscale_saas.control.public import Public
from headscale_saas.swarm.client import Client


def fits(told: Answer, expected: Answer) -> bool:
    return told[0] == expected[0] and expected[1] in told[1]


async def test_every_endpoint_has_a_row(database_dsn: str) -> None:
    async with service(database_dsn) as house:
        worker = house.workers[0].worker
        assert {row.endpoint for row in MACHINE} == set(worker._make_machine().endpoints)
        assert set(UPGRADES) == set(worker.edge._context.acceptors)
    routes = Public(lambda: None, None, "").routes()  # type: ignore[arg-type, return-value]
    assert set(PUBLIC) == {route.path for route in routes}
    assert {frozenset(route.methods or ()) for route in routes} == {frozenset({"GET", "HEAD"})}


def title(row: Row) -> str:
    return " ".join((*row.endpoint, row.way)).strip()


async def state(house: House, home: Home) -> list[object]:
    """Everything of a tailnet that others could see or an administrator would mind; not its audit log."""
    tables = ("tailnets", "nodes", "users", "auth_keys", "tailnet_settings", "sessions")
    return [
        await house.sql(
            f"select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t"
            f" where {'id' if table == 'tailnets' else 'tailnet_id'} = $1",
            home.id,
        )
        for table in tables
    ]


@asynccontextmanager
async def unchanged(house: House, home: Home, actor: Actor, row: Row) -> AsyncIterator[None]:
    before = await state(house, home)
    yield
    if actor.is_guest:
        assert await state(house, home) == before, f"{actor.name} changed something by {title(row)}"


@pytest.mark.slow
async def test_inside_noise_everybody_gets_what_the_table_says(database_dsn: str) -> None:
    wrong = []
    async with service(database_dsn) as house:
        acme, evil = await house.tailnet("acme"), await house.tailnet("evil")
        for row in MACHINE:
            async with actors(house, acme, evil) as asking:
                for actor in asking:
                    async with unchanged(house, acme, actor, row):
                        told = await ask(actor, row)
                    expected: Answer = getattr(row, actor.name)
                    if not fits(told, expected):
                        wrong.append(f"{title(row)}: {actor.name} was told {told}, not {expected}")
    assert not wrong, "\n".join(wrong)


async def test_inside_noise_there_is_nothing_else(database_dsn: str) -> None:
    async with service(database_dsn) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme) as node, Client(house.workers[0].site, tailnet="nobody") as nobody:
            await node.register(acme.key)
            for client in (node, nobody):
                for path in (*PUBLIC, *UPGRADES, *ABSENT, "/machine/", "/machine/nothing"):
                    assert (await client.request("GET", path))[0] == 404, path
                for method, path in (row.endpoint for row in MACHINE):
                    if method != "*":
                        assert (await client.request("DELETE", path, b"{}"))[0] == 404, path


async def test_without_noise_everybody_gets_what_the_table_says(database_dsn: str) -> None:
    async with service(database_dsn) as house:
        port = house.workers[0].site.port
        pages = {path: answer for ways in PUBLIC.values() for path, answer in ways.items()} | UPGRADES
        pages |= dict.fromkeys(ABSENT, (404, ""))
        pages |= {row.path or row.endpoint[1]: (404, "") for row in MACHINE}
        wrong = [
            f"{path}: {told}, not {expected}"
            for path, expected in pages.items()
            if not fits(told := await plain(port, "GET", path), expected)
        ]
        wrong += [
            f"{method} {path}: {told}"
            for path in PUBLIC
            for method in ("POST", "PUT", "DELETE", "PATCH")
            if (told := await plain(port, method, path))[0] != 405
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "header",
    ["Authorization: Bearer hskey-api-stolen", "Cookie: session=stolen", "X-Forwarded-For: 127.0.0.1"],
)
async def test_without_noise_nobody_is_anybody_special(database_dsn: str, header: str) -> None:
    name, _, value = header.partition(": ")
    async with service(database_dsn) as house:
        port = house.workers[0].site.port
        for path in (path for ways in PUBLIC.values() for path in ways):
            assert await plain(port, "GET", path, {name: value}) == await plain(port, "GET", path), path


async def plain(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
    """Over HTTP/1.1, in a thread."""

    def exchange() -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path.replace("<", "%3C"), headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(exchange)
