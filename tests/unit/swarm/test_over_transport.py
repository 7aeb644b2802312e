"""The client and our own transport understand each other; neither knows the other's code."""

import asyncio
import socket
from typing import Any

from fake_peer import FakePeer

from headscale_saas.swarm.crowd import run
from headscale_saas.swarm.plan import Plan
from headscale_saas.tailcfg.codec import decode, encode
from headscale_saas.tailcfg.maps import MapRequest, MapResponse
from headscale_saas.tailcfg.register import RegisterRequest
from headscale_saas.transport.fair import FairQueue
from headscale_saas.transport.server import Edge
from headscale_saas.transport.streams import Request, Stream
from headscale_saas.wire.mapframe import compress, frame
from headscale_saas.wire.noise import ServerKeys


class EdgePeer(FakePeer):
    """The same answers through the real edge."""

    async def __aenter__(self) -> "EdgePeer":
        self.streams: dict[Stream, str] = {}
        self.edge = Edge(
            self.app, self.answer, ServerKeys(self.key), work=FairQueue(asyncio.get_running_loop())
        )
        listener = socket.create_server(("127.0.0.1", 0))
        await self.edge.start([listener])
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.edge.stop()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        key = str(ServerKeys(self.key).serving)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"publicKey":"%s"}' % key.encode()})

    async def answer(self, request: Request) -> None:
        if request.path == "/machine/register":
            response = self.register(decode(RegisterRequest, request.body))
            request.stream.respond(200, encode(response), "application/json")
            return
        wanted = decode(MapRequest, request.body)
        if not wanted.stream:
            self.report(wanted)
            request.stream.respond(200)
            return
        request.stream.start(200, {})
        self.streams[request.stream] = str(wanted.node_key)
        request.stream.write(frame(compress(self.full(str(wanted.node_key)))))

    def tell(self, tailnet: str, message: MapResponse | bytes) -> None:
        raw = message if isinstance(message, bytes) else encode(message)
        for stream, node_key in self.streams.items():
            if self.nodes.get(node_key, ("", None))[0] == tailnet:
                stream.write(frame(compress(raw)))


async def test_a_crowd_runs_through_all_phases_over_the_real_transport() -> None:
    async with EdgePeer() as peer:
        plan = Plan(
            peer.url,
            ("a", "b"),
            clients=40,
            rounds=2,
            decode=1.0,
            pause_seconds=0,
            quiet_seconds=0.05,
            limit_seconds=5,
        )
        report = await run(plan)
    assert report.is_clean, report.verdict()
    assert len(report.phase("storm").waits) == 42
