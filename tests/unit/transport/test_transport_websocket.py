"""The WebSocket form of `/ts2021` (T-22), and TLS in front of either."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from noise_client import Client, door, hang_up, initiation, upgrade_request
from test_transport_attacks import exchange
from tests.waiting import until
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from headscale_saas.transport.limits import Limits, Rate
from headscale_saas.wire.records import Opener, Sealer


def handshake_request(handshake: bytes, **changes: str) -> bytes:
    fields = {
        "Host": "control.example",
        "Origin": "https://elsewhere.example",
        "Cookie": "session=stolen",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Extensions": "permessage-deflate",
        "Sec-WebSocket-Protocol": "tailscale-control-protocol",
    }
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"GET /ts2021?X-Tailscale-Handshake={quote(handshake, safe='')} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([*lines, "", ""]).encode()


class WebSocketClient:
    """Enough of a browser: messages in, messages out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.ws = Connection(ConnectionType.CLIENT)
        self.messages: list[bytes] = []
        self.others: list[Event] = []
        self.closed: int | None = None
        self.task = asyncio.create_task(self.read())

    async def read(self) -> None:
        while data := await self.reader.read(65536):
            self.ws.receive_data(data)
            for event in self.ws.events():
                match event:
                    case BytesMessage(data=payload):
                        self.messages.append(bytes(payload))
                    case CloseConnection(code=code):
                        self.closed = code
                    case _:
                        self.others.append(event)
        self.closed = self.closed or 0

    def send(self, event: Event) -> None:
        self.writer.write(self.ws.send(event))


@asynccontextmanager
async def browser(limits: Limits | None = None) -> AsyncIterator[tuple[WebSocketClient, Sealer, Opener]]:
    async with door(limits=limits) as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        noise, handshake = initiation()
        writer.write(handshake_request(handshake))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"tailscale-control-protocol" in head
        assert b"deflate" not in head
        client = WebSocketClient(reader, writer)
        await until(lambda: len(b"".join(client.messages)) > 51)
        buffer = bytearray(b"".join(client.messages))
        channel = noise.take(buffer)
        assert channel is not None
        client.messages[:] = [bytes(buffer)]
        yield client, Sealer(channel.client_to_server), Opener(channel.server_to_client)
        await hang_up(writer)
        await client.task


class Bytes:
    """A writer that puts bytes into messages, cut anywhere."""

    def __init__(self, client: WebSocketClient, size: int) -> None:
        self.client, self.size = client, size

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.size):
            self.client.send(BytesMessage(data[start : start + self.size]))


@pytest.mark.parametrize("size", [3, 70_000])
async def test_a_browser_is_served_however_it_cuts_its_messages(size: int) -> None:
    async with browser() as (ws, sealer, opener):
        reader = asyncio.StreamReader()
        client = Client(reader, Bytes(ws, size), window=1 << 20)  # type: ignore[arg-type]
        client.begin(sealer, opener, ws.messages.pop(0))
        answer = client.request("POST", "/machine/map", b"x" * 30_000)

        def arrived() -> bool:
            while ws.messages:
                assert len(ws.messages[0]) <= 4096
                reader.feed_data(ws.messages.pop(0))
            return answer.ended

        await until(arrived)
        assert answer.status == 200
        assert client.early.challenge is None
        reader.feed_eof()


async def test_a_text_message_closes() -> None:
    async with browser() as (ws, _, _):
        ws.send(TextMessage("hello"))
        await until(lambda: ws.closed == 1003)


async def test_a_damaged_frame_closes() -> None:
    async with browser() as (ws, _, _):
        ws.writer.write(b"\xff\xff\xff\xff")
        await until(lambda: ws.closed is not None)


async def test_pings_are_answered_and_rationed() -> None:
    async with browser(Limits(pings=Rate(5, 60.0))) as (ws, _, _):
        for _ in range(5):
            ws.send(Ping(b"x"))
        await until(lambda: len(ws.others) == 5)
        assert all(isinstance(event, Pong) for event in ws.others)
        ws.send(Ping(b"x"))
        await until(lambda: ws.closed == 1008)


async def test_a_polite_goodbye_is_returned() -> None:
    async with browser() as (ws, _, _):
        ws.send(CloseConnection(code=1000))
        await until(lambda: ws.closed == 1000)


@pytest.mark.parametrize(
    "spoiled",
    [
        handshake_request(initiation()[1], Sec_WebSocket_Protocol="other"),
        handshake_request(initiation()[1], Sec_WebSocket_Protocol=""),
        handshake_request(initiation()[1], Sec_WebSocket_Key=""),
        handshake_request(initiation()[1], Sec_WebSocket_Version="8"),
        handshake_request(b"!"),
        handshake_request(b""),
        handshake_request(initiation()[1]).replace(b"GET", b"POST"),
    ],
)
async def test_what_is_no_browser_of_ours_is_refused(spoiled: bytes) -> None:
    async with door() as opened:
        assert (await exchange(opened.port, spoiled)).startswith(b"HTTP/1.1 400 ")


async def test_a_junk_handshake_is_closed() -> None:
    async with door() as opened:
        answer = await exchange(opened.port, handshake_request(b"A" * 136))
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert opened.edge.counts.failed_handshakes == 1


# TLS


def tls_contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate that signs itself; the client does not verify, as Go's does not on this path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "control.example")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start.replace(year=2060))
    (folder / "cert").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    formats = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *formats))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert", folder / "key")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return server, client


async def test_tls_without_alpn(tmp_path: Path) -> None:
    server, context = tls_contexts(tmp_path)
    async with door(tls=server) as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port, ssl=context)
        noise, handshake = initiation()
        writer.write(upgrade_request(handshake))
        await reader.readuntil(b"\r\n\r\n")
        channel = noise.take(bytearray(await reader.readexactly(51)))
        assert channel is not None
        client = Client(reader, writer, window=1 << 20)
        client.begin(Sealer(channel.client_to_server), Opener(channel.server_to_client), b"")
        answer = client.request("GET", "/over/tls")
        await until(lambda: answer.ended)
        await client.close()
