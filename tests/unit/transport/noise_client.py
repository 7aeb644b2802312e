"""A small client of `/ts2021` for the tests of the transport: wire's initiator, and h2 on a stream."""

import asyncio
import contextlib
import json
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes, Settings

from headscale_saas.tailcfg.keys import PrivateKey
from headscale_saas.transport.fair import FairQueue
from headscale_saas.transport.limits import Limits
from headscale_saas.transport.server import Edge
from headscale_saas.transport.streams import Request
from headscale_saas.wire.early import EarlyReader
from headscale_saas.wire.noise import Initiator, ServerKeys
from headscale_saas.wire.records import Opener, Sealer

SERVER = PrivateKey(bytes(range(32)))
MACHINE = PrivateKey(bytes(range(50, 82)))
EPHEMERAL = PrivateKey(bytes(range(90, 122)))
VERSION = 130


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Gone for certain: a loop that is closed while sockets still say goodbye may hang."""
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def plain_app(scope: Any, receive: Any, send: Any) -> None:
    """The ordinary app behind the edge: says who it thinks is asking, and how long the body was."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    answer = json.dumps({"client": scope["client"][0], "scheme": scope["scheme"], "body": len(body)}).encode()
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def echo(request: Request) -> None:
    """A handler that answers with what it was asked."""
    seen = [request.method, request.path, request.query, request.headers, len(request.body)]
    request.stream.respond(200, json.dumps(seen).encode(), "application/json")


@dataclass
class Door:
    """A running edge and where it is."""

    edge: Edge
    port: int


@asynccontextmanager
async def door(
    handler: Callable[[Request], Awaitable[None]] = echo, limits: Limits | None = None, **options: Any
) -> AsyncIterator[Door]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    work = FairQueue(asyncio.get_running_loop())
    app = options.pop("app", plain_app)
    edge = Edge(app, handler, ServerKeys(SERVER), work=work, limits=limits or Limits(), **options)
    await edge.start([listener])
    try:
        yield Door(edge, port)
    finally:
        async with asyncio.timeout(10):
            await edge.stop()


@dataclass
class Answer:
    """What has arrived of one response."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


def initiation(version: int = VERSION, machine: PrivateKey = MACHINE) -> tuple[Initiator, bytes]:
    client = Initiator(machine, ServerKeys(SERVER).serving, EPHEMERAL, version)
    return client, b64encode(client.initiation)


def upgrade_request(handshake: bytes) -> bytes:
    return (
        b"POST /ts2021 HTTP/1.1\r\nHost: control.example\r\nUpgrade: tailscale-control-protocol\r\n"
        b"Connection: upgrade\r\nX-Tailscale-Handshake: " + handshake + b"\r\nContent-Length: 0\r\n\r\n"
    )


class Client:
    """HTTP/2 inside Noise as Go's client speaks it; `auto_window=False` never gives window back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, window: int) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        settings = {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.ENABLE_PUSH: 0}
        self.h2.local_settings = Settings(client=True, initial_values=settings)
        self.answers: dict[int, Answer] = {}
        self.auto_window = True
        self.goaway: int | None = None
        self.words = b""
        self.closed = False
        self.early = EarlyReader()
        self.sealer: Sealer
        self.opener: Opener
        self._task: asyncio.Task[None] | None = None

    def begin(self, sealer: Sealer, opener: Opener, rest: bytes) -> None:
        self.sealer, self.opener = sealer, opener
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 30)
        self._take(rest)
        self.flush()
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while data := await self.reader.read(65536):
                self._take(data)
                self.flush()
        except ConnectionError:
            pass
        self.closed = True

    def _take(self, data: bytes) -> None:
        for plaintext in self.opener.feed(data):
            for event in self.h2.receive_data(self.early.feed(plaintext)):
                self._on_event(event)

    def _on_event(self, event: object) -> None:
        match event:
            case ResponseReceived():
                fields = {str(k): str(v) for k, v in event.headers or []}
                answer = self.answers[event.stream_id or 0]
                answer.status, answer.headers = int(fields.pop(":status")), fields
            case DataReceived():
                self.answers[event.stream_id or 0].body += event.data or b""
                if self.auto_window:
                    self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            case StreamEnded():
                self.answers[event.stream_id or 0].ended = True
            case StreamReset():
                self.answers[event.stream_id or 0].reset = int(event.error_code or 0)
            case ConnectionTerminated():
                self.goaway, self.words = int(event.error_code or 0), event.additional_data or b""
                self.h2.state_machine.state = ConnectionState.CLIENT_OPEN  # h2 would read no further

    def flush(self) -> None:
        self.send(self.h2.data_to_send())

    def send(self, plaintext: bytes) -> None:
        self.writer.write(self.sealer.seal(plaintext))

    def request(
        self, method: str, path: str, body: bytes = b"", *, end: bool = True, **headers: str
    ) -> Answer:
        """Sends at once (bodies up to the window); the answer fills as it arrives."""
        fields = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "unused")]
        fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = answer = Answer()
        self.h2.send_headers(number, fields, end_stream=end and not body)
        for start in range(0, len(body), 16384):
            piece = body[start : start + 16384]
            self.h2.send_data(number, piece, end_stream=end and start + 16384 >= len(body))
        self.flush()
        return answer

    def stop_reading(self) -> None:
        """Leaves everything in the socket from now on."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def cancel(self, answer: Answer) -> None:
        number = next(number for number, known in self.answers.items() if known is answer)
        self.h2.reset_stream(number, ErrorCodes.CANCEL)
        self.flush()

    async def close(self) -> None:
        self.writer.transport.abort()  # what is still to be sent would hold a polite close up
        if self._task is not None:
            await self._task


async def dial(
    port: int, *, window: int = 4 << 20, machine: PrivateKey = MACHINE, origin: str = "127.0.0.1"
) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(origin, 0))
    noise, handshake = initiation(machine=machine)
    writer.write(upgrade_request(handshake))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    buffer = bytearray(await reader.readexactly(51))
    channel = noise.take(buffer)
    assert channel is not None
    client = Client(reader, writer, window=window)
    client.begin(Sealer(channel.client_to_server), Opener(channel.server_to_client), b"")
    return client


@asynccontextmanager
async def connected(
    handler: Callable[[Request], Awaitable[None]] = echo, limits: Limits | None = None, **options: Any
) -> AsyncIterator[tuple[Door, Client]]:
    """A door and one client through it."""
    window = options.pop("window", 4 << 20)
    async with door(handler, limits, **options) as opened:
        client = await dial(opened.port, window=window)
        try:
            yield opened, client
        finally:
            await client.close()
