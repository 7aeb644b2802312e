"""Ordinary HTTP at the edge: what reaches the app, and what is refused as ambiguous (T-09, T-16, T-21)."""

import asyncio
import json
from typing import Any

import pytest
from noise_client import Door, door, hang_up
from test_transport_attacks import exchange
from tests.waiting import until

from headscale_saas.transport.addresses import Proxies, source
from headscale_saas.transport.limits import Limits


async def ask(opened: Door, head: bytes, body: bytes = b"") -> bytes:
    return await exchange(opened.port, head + b"Connection: close\r\n\r\n" + body)


async def test_an_ordinary_request_reaches_the_app(caplog: pytest.LogCaptureFixture) -> None:
    async with door() as opened:
        answer = await ask(opened, b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n", b"abc")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"date: " in head.lower()
        assert json.loads(body) == {"client": "127.0.0.1", "scheme": "http", "body": 3}
    assert not caplog.records


async def test_a_chunked_body_reaches_the_app() -> None:
    async with door() as opened:
        head = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        answer = await ask(opened, head, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert b'"body": 5' in answer


H = b"GET / HTTP/1.1\r\n"
P = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "head",
    [
        P + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        P + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        P + b"Content-Length: 3\r\nContent-Length: 3\r\n",
        P + b"Content-Length: 3\r\nContent-Length: 4\r\n",
        P + b"Content-Length: +3\r\n",
        P + b"Content-Length: 3, 3\r\n",
        P + b"Transfer-Encoding: gzip, chunked\r\n",
        P + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        P + b"Transfer-Encoding: xchunked\r\n",
        P + b"Transfer-Encoding : chunked\r\n",
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
        H + b"Host: a\r\nHost: b\r\n",
        H,
        H + b"Host: x\r\nA b: c\r\n",
        H + b"Host: x\r\n folded: yes\r\n",
        H + b"Host: x\r\nA: b\rc\r\n",
        H + b"Host: x\r\nA: b\0c\r\n",
        b"GET http://other/ HTTP/1.1\r\nHost: x\r\n",
        b"CONNECT other:443 HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/1.1\nHost: x\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n",
    ],
)
async def test_t21_ambiguity_is_refused(head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with door() as opened:
        assert (await ask(opened, head)).startswith(b"HTTP/1.1 400 ")
    assert not caplog.records


@pytest.mark.parametrize(
    "head",
    [
        H + b"Host: x\r\nA: " + b"b" * 17_000 + b"\r\n",
        b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n",
        H + b"Host: x\r\n" + b"A: b\r\n" * 101,
    ],
)
async def test_a_large_header_block_is_refused(head: bytes) -> None:
    async with door() as opened:
        assert (await ask(opened, head)).startswith(b"HTTP/1.1 431 ")


async def test_an_endless_header_block_is_refused_before_its_end() -> None:
    async with door() as opened:
        answer = await exchange(opened.port, H + b"Host: x\r\nA: " + b"b" * 20_000)
        assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("length", [(1 << 20) + 1, 10 << 30])
async def test_t09_a_long_body_is_refused_before_it_is_read(length: int) -> None:
    async with door() as opened:
        answer = await exchange(opened.port, P + b"Content-Length: %d\r\n\r\n" % length)
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_t09_an_endless_chunked_body_is_refused_at_its_limit() -> None:
    async with door(limits=Limits(body_bytes=10_000)) as opened:
        chunks = (b"1000\r\n" + bytes(0x1000) + b"\r\n") * 3
        answer = await exchange(opened.port, P + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "rest",
    [b"3\r\nabc\r\nnot a chunk\r\n", b"0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
    ids=["in its body", "in the next request"],
)
async def test_what_goes_wrong_while_the_app_works_is_no_line_in_the_log(
    rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with door() as opened:
        head = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await exchange(opened.port, head + rest)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1
    assert not caplog.records


async def test_t16_compressed_requests_are_refused() -> None:
    async with door() as opened:
        answer = await ask(opened, P + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n", b"x")
        assert answer.startswith(b"HTTP/1.1 415 ")


async def test_who_leaves_before_the_answers_writes_nothing_into_our_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    goes, asked = asyncio.Event(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            await goes.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with door(app=app) as opened:
        _, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        await until(lambda: asked == 2)
        await hang_up(writer)
        await until(lambda: not opened.edge._sweep.members)
        goes.set()
        await until(lambda: not opened.edge._context.state.tasks)
    assert not caplog.records


async def test_pipelining_has_a_limit() -> None:
    async with door() as opened:
        answer = await exchange(opened.port, (H + b"Host: x\r\n\r\n") * 100)
        assert answer.count(b"HTTP/1.1 200 ") < 100


async def test_an_unknown_upgrade_is_an_ordinary_request() -> None:
    async with door() as opened:
        answer = await exchange(opened.port, H + b"Host: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_forwarded_addresses_are_believed_from_trusted_proxies_only() -> None:
    head = H + b"Host: x\r\nX-Forwarded-For: 9.9.9.9, 203.0.113.7\r\nX-Forwarded-Proto: https\r\n"
    async with door() as opened:
        assert b'{"client": "127.0.0.1", "scheme": "http"' in await ask(opened, head)
    async with door(trusted_proxies=["127.0.0.0/8"]) as opened:
        assert b'{"client": "203.0.113.7", "scheme": "https"' in await ask(opened, head)


def test_the_nearest_untrusted_hop_is_the_client() -> None:
    proxies = Proxies(["10.0.0.0/8", "fd00::/8"])
    assert proxies.client("10.0.0.1", "1.1.1.1, 2.2.2.2, 10.0.0.2") == "2.2.2.2"
    assert proxies.client("fd00::1", "2001:db8::1") == "2001:db8::1"
    assert proxies.client("10.0.0.1", "") == "10.0.0.1"
    assert proxies.client("10.0.0.1", "1.1.1.1, junk") == "10.0.0.1"
    assert proxies.client("8.8.8.8", "1.1.1.1") == "8.8.8.8"
    assert proxies.client("::ffff:10.0.0.1", "1.1.1.1") == "1.1.1.1"


def test_an_origin_is_an_ipv4_address_or_an_ipv6_64() -> None:
    assert source("192.0.2.1") == source("::ffff:192.0.2.1") == "192.0.2.1"
    assert source("2001:db8::1") == source("2001:db8::ffff") != source("2001:db8:0:1::1")
    assert source("") == ""


async def test_keep_alive_serves_several_requests() -> None:
    async with door() as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        for _ in range(3):
            writer.write(H + b"Host: x\r\n\r\n")
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        await hang_up(writer)
