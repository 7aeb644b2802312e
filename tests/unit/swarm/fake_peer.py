"""The least control server a client can live with, made from `wire` and `h2`.

An auth key is the name of a tailnet; all nodes of a tailnet see each other. Knobs break one rule each.
"""

import asyncio
import base64
import os
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import msgspec

from headscale_saas.tailcfg.codec import decode, encode
from headscale_saas.tailcfg.control import OverTLSPublicKeyResponse
from headscale_saas.tailcfg.keys import ChallengeKey, PrivateKey
from headscale_saas.tailcfg.maps import MapRequest, MapResponse, PeerChange
from headscale_saas.tailcfg.node import Node
from headscale_saas.tailcfg.register import RegisterRequest, RegisterResponse
from headscale_saas.wire.early import early_payload
from headscale_saas.wire.mapframe import KEEP_ALIVE_ZSTD, compress, frame
from headscale_saas.wire.noise import ServerKeys, accept
from headscale_saas.wire.records import Opener, Sealer


@dataclass
class Knobs:
    early: bool = True
    map_status: int = 200
    leak: bytes = b""
    """Put into every map message, as another tailnet's data would be."""
    hides: Container[str] = ()
    """Host names of joiners that nobody is told of."""
    first_message: bytes | None = None
    http: bytes | None = None
    """Answers the upgrade with this instead."""


@dataclass
class FakePeer:
    knobs: Knobs = field(default_factory=Knobs)
    key: PrivateKey = field(default_factory=lambda: PrivateKey(os.urandom(32)))
    nodes: dict[str, tuple[str, Node]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    expiries: list[Any] = field(default_factory=list)
    polls: dict[tuple["Session", int], str] = field(default_factory=dict)
    sessions: list["Session"] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> "FakePeer":
        self.server = await asyncio.get_running_loop().create_server(lambda: Session(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for session in self.sessions:
            session.transport.abort()
        await self.server.wait_closed()

    def register(self, request: RegisterRequest) -> RegisterResponse:
        self.expiries.append(request.expiry)
        tailnet = request.auth.auth_key if request.auth else ""
        if tailnet == "bad":
            return RegisterResponse(error="auth key not valid")
        if not tailnet and not request.followup:
            return RegisterResponse(auth_url="http://login/1")
        _, before = self.nodes.pop(str(request.old_node_key), (tailnet, None))
        number = before.id if before else len(self.nodes) + 1
        assert request.hostinfo
        name = request.hostinfo.hostname
        node = Node(id=number, key=request.node_key, name=name, hostinfo=request.hostinfo)
        self.nodes[str(request.node_key)] = (tailnet or "followed", node)
        if name not in self.knobs.hides:
            self.tell(tailnet, MapResponse(peers_changed=(node,)))
        return RegisterResponse(machine_authorized=True)

    def report(self, request: MapRequest) -> None:
        tailnet, node = self.nodes[str(request.node_key)]
        node = msgspec.structs.replace(node, endpoints=request.endpoints)
        self.nodes[str(request.node_key)] = (tailnet, node)
        self.tell(
            tailnet,
            MapResponse(peers_changed_patch=(PeerChange(node_id=node.id, endpoints=request.endpoints),)),
        )

    def full(self, node_key: str) -> bytes:
        if self.knobs.first_message is not None:
            return self.knobs.first_message
        tailnet, own = self.nodes[node_key]
        peers = tuple(node for name, node in self.nodes.values() if name == tailnet and node.id != own.id)
        return encode(MapResponse(node=own, peers=peers))

    def tell(self, tailnet: str, message: MapResponse | bytes) -> None:
        raw = message if isinstance(message, bytes) else encode(message)
        for (session, stream), node_key in list(self.polls.items()):
            if self.nodes.get(node_key, ("", None))[0] == tailnet:
                session.send(stream, frame(compress(raw + self.knobs.leak)))

    def keep_alive(self) -> None:
        for session, stream in list(self.polls):
            session.send(stream, frame(KEEP_ALIVE_ZSTD))

    def drop_all(self) -> None:
        for session in self.sessions:
            session.transport.abort()

    def go_away(self) -> None:
        for session in self.sessions:
            session.http.close_connection()
            session.flush()


class Session(asyncio.Protocol):
    def __init__(self, peer: FakePeer) -> None:
        self.peer = peer
        self.buffer = b""
        self.sealer: Sealer | None = None
        self.http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.bodies: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.queues: dict[int, bytearray] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.peer.sessions.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.peer.sessions.remove(self)
        self.peer.polls = {key: value for key, value in self.peer.polls.items() if key[0] is not self}

    def data_received(self, data: bytes) -> None:
        if self.sealer:
            for plaintext in self.opener.feed(data):
                for event in self.http.receive_data(plaintext):
                    self.on_event(event)
            self.flush()
            return
        self.buffer += data
        if b"\r\n\r\n" in self.buffer:
            self.on_http(self.buffer.partition(b"\r\n\r\n")[0].decode())

    def on_http(self, head: str) -> None:
        if self.peer.knobs.http is not None and not head.startswith("GET"):
            self.transport.write(self.peer.knobs.http)
        elif head.startswith("GET /key?v="):
            body = encode(OverTLSPublicKeyResponse(public_key=ServerKeys(self.peer.key).serving))
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.transport.close()
        else:
            self.upgrade(head)

    def upgrade(self, head: str) -> None:
        handshake = head.partition("X-Tailscale-Handshake: ")[2].split("\r\n")[0]
        accepted = accept(base64.b64decode(handshake), ServerKeys(self.peer.key), PrivateKey(os.urandom(32)))
        self.opener = Opener(accepted.channel.client_to_server)
        self.sealer = Sealer(accepted.channel.server_to_client)
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tailscale-control-protocol\r\n"
            b"Connection: upgrade\r\n\r\n" + accepted.response
        )
        if self.peer.knobs.early:
            self.transport.write(self.sealer.seal(early_payload(ChallengeKey(os.urandom(32)))))
        self.http.initiate_connection()
        self.flush()

    def on_event(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self.bodies[event.stream_id] = (dict(event.headers), bytearray())
            case h2.events.DataReceived():
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.bodies[event.stream_id][1].extend(event.data)
            case h2.events.StreamEnded():
                self.on_request(event.stream_id, *self.bodies.pop(event.stream_id))
            case h2.events.StreamReset():
                self.peer.polls.pop((self, event.stream_id), None)
            case h2.events.WindowUpdated():
                for stream in list(self.queues):
                    self.drain(stream)

    def on_request(self, stream: int, headers: dict[str, str], body: bytearray) -> None:
        method, path = headers[":method"], headers[":path"]
        self.peer.requests.append((method, path))
        if path == "/machine/register":
            self.answer(stream, 200, encode(self.peer.register(decode(RegisterRequest, bytes(body)))))
        elif path == "/machine/map":
            self.on_map(stream, decode(MapRequest, bytes(body)))
        else:
            self.answer(stream, 200, b"" if method == "HEAD" else bytes(body))

    def on_map(self, stream: int, request: MapRequest) -> None:
        if request.stream and self.peer.knobs.map_status != 200:
            self.answer(stream, self.peer.knobs.map_status, b"no such node")
        elif request.stream:
            self.http.send_headers(stream, [(":status", "200")])
            self.peer.polls[self, stream] = str(request.node_key)
            self.send(stream, frame(compress(self.peer.full(str(request.node_key)) + self.peer.knobs.leak)))
        else:
            self.peer.report(request)
            self.answer(stream, 200, b"")

    def answer(self, stream: int, status: int, body: bytes) -> None:
        self.http.send_headers(
            stream, [(":status", str(status)), ("content-type", "application/json")], not body
        )
        for start in range(0, len(body), 16384):
            self.http.send_data(stream, body[start : start + 16384], end_stream=start + 16384 >= len(body))

    def send(self, stream: int, data: bytes) -> None:
        self.queues.setdefault(stream, bytearray()).extend(data)
        self.drain(stream)

    def drain(self, stream: int) -> None:
        queue = self.queues[stream]
        while queue and (room := min(self.http.local_flow_control_window(stream), 16384)):
            self.http.send_data(stream, bytes(queue[:room]))
            del queue[:room]
        self.flush()

    def flush(self) -> None:
        assert self.sealer
        if data := self.http.data_to_send():
            self.transport.write(self.sealer.seal(data))
