"""T-23: TLS of our own."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from noise_client import Door, door, hang_up, initiation
from test_transport_websocket import tls_contexts
from tests.waiting import until

from headscale_saas.transport.limits import Limits
from headscale_saas.transport.tls import is_meant, server_context

OURS = "control.example"


@asynccontextmanager
async def encrypted(folder: Path, **options: Any) -> AsyncIterator[tuple[Door, ssl.SSLContext]]:
    _, client = tls_contexts(folder)
    async with door(tls=server_context(folder / "cert", folder / "key"), **options) as opened:
        yield opened, client


async def status(port: int, client: ssl.SSLContext, hello: str | None, *lines: bytes) -> bytes:
    """What a request is answered on a connection whose hello named that host."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=hello or "")
    writer.write(b"\r\n".join((*lines, b"", b"")))
    first = await reader.readuntil(b"\r\n")
    await hang_up(writer)
    return first[9:12]


@pytest.mark.parametrize(
    ("hello", "host", "answer"),
    [
        (OURS, b"control.example", b"200"),
        (OURS, b"Control.Example.:443", b"200"),
        (OURS, b"acme.example", b"421"),
        (OURS, b"control.example.evil.example", b"421"),
        ("acme.example", b"control.example", b"421"),
        ("acme.example", b"acme.example:8443", b"200"),
        (None, b"control.example", b"200"),
        (None, b"192.0.2.1:8080", b"200"),
    ],
)
async def test_t23_a_request_means_the_host_of_the_hello(
    tmp_path: Path, hello: str | None, host: bytes, answer: bytes
) -> None:
    async with encrypted(tmp_path) as (opened, client):
        assert await status(opened.port, client, hello, b"GET / HTTP/1.1", b"Host: " + host) == answer


async def test_t23_an_upgrade_too(tmp_path: Path) -> None:
    upgrade = [b"Upgrade: tailscale-control-protocol", b"Connection: upgrade", b"Content-Length: 0"]
    handshake = b"X-Tailscale-Handshake: " + initiation()[1]
    async with encrypted(tmp_path) as (opened, client):
        for host, answer in ((b"control.example", b"101"), (b"acme.example", b"421")):
            lines = b"POST /ts2021 HTTP/1.1", b"Host: " + host, *upgrade, handshake
            assert await status(opened.port, client, OURS, *lines) == answer


async def test_a_trusted_proxy_may_ask_for_any_name_when_it_encrypts_anew(tmp_path: Path) -> None:
    async with encrypted(tmp_path, trusted_proxies=["127.0.0.1"]) as (opened, client):
        lines = b"GET / HTTP/1.1", b"Host: acme.example"
        assert await status(opened.port, client, OURS, *lines) == b"200"


async def test_who_does_not_begin_its_handshake_counts_all_the_same(tmp_path: Path) -> None:
    """Each has a file. Else one address could take all of them by saying nothing."""
    limits = Limits(connections=6, tls_handshake_seconds=0.5)
    async with encrypted(tmp_path, limits=limits) as (opened, client):
        silent = [await asyncio.open_connection("127.0.0.1", opened.port) for _ in range(20)]
        await until(lambda: opened.edge.counts.turned_away == 16)
        assert opened.edge._context.gate._here == {"127.0.0.1": 4}
        other = {"local_addr": ("127.0.0.2", 0), "ssl": client, "server_hostname": OURS}
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port, **other)
        writer.write(b"GET / HTTP/1.1\r\nHost: control.example\r\n\r\n")
        assert (await reader.readuntil(b"\r\n"))[9:12] == b"200"
        await hang_up(writer)
        await until(lambda: not opened.edge._context.gate._here)
        for _, writer in silent:
            await hang_up(writer)
        assert await status(opened.port, client, OURS, b"GET / HTTP/1.1", b"Host: control.example") == b"200"


async def test_the_end_waits_for_nobody_who_does_not_begin_its_handshake(tmp_path: Path) -> None:
    async with encrypted(tmp_path) as (opened, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        await until(lambda: bool(opened.edge._context.gate._here))
        await asyncio.wait_for(opened.edge.stop(), 2)
        assert await reader.read() == b""
        assert not opened.edge._context.gate._here
        await hang_up(writer)


def test_hosts_with_and_without_ports() -> None:
    assert is_meant("a.example", "a.example")
    assert is_meant("a.example.", "A.example:80")
    assert not is_meant("a.example", "a.example:80:80")
    assert not is_meant("a.example", "")
    assert not is_meant("a.example", "[::1]")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="NOT TESTED: needs the program openssl")
async def test_t23_no_early_data_and_no_renegotiation(tmp_path: Path) -> None:
    async with encrypted(tmp_path) as (opened, _):
        told = await openssl(opened.port, "-tls1_3")
        assert "Max Early Data: 0" in told
        told = await openssl(opened.port, "-tls1_2")
        assert "no renegotiation" in told
        assert "New, TLSv1.2" in told
        assert "New, (NONE)" in await openssl(opened.port, "-tls1_1")


async def openssl(port: int, version: str) -> str:
    """What it says of a connection; where the version has renegotiation, it asks for it ("R")."""
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", version),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    process.stdin.write(b"R\n" if version == "-tls1_2" else b"GET / HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(10):
        told, _ = await process.communicate()
    return told.decode()
