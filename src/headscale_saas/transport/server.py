"""The edge on bound sockets: start, adopt a socket that another process accepted, drain, stop."""

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from uvicorn._types import ASGIApplication
from uvicorn.config import Config
from uvicorn.server import ServerState

from headscale_saas.tailcfg.keys import MachineKey
from headscale_saas.transport.addresses import Network, Proxies
from headscale_saas.transport.bodies import Bodies
from headscale_saas.transport.connection import Counts, Host
from headscale_saas.transport.edge import Context, EdgeProtocol
from headscale_saas.transport.fair import FairQueue
from headscale_saas.transport.gate import Gate, Ticket
from headscale_saas.transport.hellos import Hellos
from headscale_saas.transport.limits import Limits
from headscale_saas.transport.streams import Handler, LaneOf, Surroundings
from headscale_saas.transport.sweep import Sweep
from headscale_saas.transport.upgrades import Acceptor, control_acceptor
from headscale_saas.wire.noise import ServerKeys

CONTROL_PATH = "/ts2021"
_BACKLOG = 2048


def stranger(machine: MachineKey) -> None:
    """The lane of every machine, where nobody knows any."""


class Edge:
    """One door for everything that comes by TCP. Make it inside the running loop.

    `app` is an ordinary ASGI app (its lifespan is not run); `control` answers what comes inside Noise; `work`
    is the process's fair queue, in which a machine's work waits in `lane_of(machine)`. `upgrades` are further
    paths that may leave HTTP (a relay). The sockets are bound by the caller, who may share them among
    processes.
    """

    def __init__(
        self,
        app: ASGIApplication,
        control: Handler,
        keys: ServerKeys,
        *,
        work: FairQueue,
        lane_of: LaneOf = stranger,
        limits: Limits | None = None,
        trusted_proxies: Sequence[str | Network] = (),
        upgrades: Mapping[str, Acceptor] | None = None,
        tls: ssl.SSLContext | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits or Limits()
        self._tls = tls
        self._jitter = jitter
        self._servers: list[asyncio.AbstractServer] = []
        self._bodies = Bodies(self._limits.process_bodies_bytes, self._limits.origin_bodies_bytes)
        self._sweep = Sweep(self._loop, self._limits.sweep_seconds)
        self._host = self._make_host(control, keys, work, lane_of)
        self._context = self._make_context(app, Proxies(trusted_proxies), upgrades or {})
        self._hellos = Hellos(tls, self._limits, self._context.arrive, self._greeted) if tls else None

    @property
    def counts(self) -> Counts:
        return self._host.counts

    @property
    def connections(self) -> int:
        """Noise connections, handshaking ones included."""
        return len(self._host.connections)

    @property
    def waiting(self) -> int:
        """Connections in line before the gate."""
        return self._context.gate.waiting()

    @property
    def body_bytes(self) -> int:
        """Of request bodies whose handlers have not finished."""
        return self._bodies.held

    def use_keys(self, keys: ServerKeys) -> None:
        """For handshakes from now on; running connections keep their channel."""
        self._host.keys = keys

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Listens on bound sockets."""
        for listener in sockets:
            set_options(listener, self._limits)
            if self._hellos is not None:
                self._hellos.listen(listener, _BACKLOG)
                continue
            # libuv accepts one connection in a turn of the loop, from each descriptor it watches.
            copies = [listener.dup() for _ in range(self._limits.accepts_per_turn - 1)]
            for sock in (listener, *copies):
                server = await self._loop.create_server(self._protocol, sock=sock, backlog=_BACKLOG)
                self._servers.append(server)

    async def adopt(self, connected: socket.socket, first: bytes = b"") -> None:
        """Serves a socket that was accepted elsewhere; `first` are the bytes already read from it."""
        set_options(connected, self._limits)
        tls = self._tls_options()
        _, protocol = await self._loop.connect_accepted_socket(self._protocol, connected, **tls)
        if first:
            protocol.data_received(first)

    async def drain(self, seconds: float) -> None:
        """Accepts nothing more, lets the clients go one by one over `seconds`, and closes what is left."""
        self._stop_accepting()
        for connection in list(self._host.connections):
            self._loop.call_later(self._jitter() * seconds, connection.retire)
        for http in list(self._context.state.connections):
            http.shutdown()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._sweep.emptied(), seconds)
        await self.stop()

    async def stop(self) -> None:
        """At once. Who was adopted and is in the middle of a TLS handshake comes late, and is closed then."""
        self._stop_accepting()
        if self._hellos is not None:
            await self._hellos.stop()
        await asyncio.sleep(0)  # the loop tells us one turn later of a connection that it has accepted
        self._close_all()
        while self._sweep.members:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.linger_seconds):
                    await self._sweep.emptied()
            self._close_all()
        self._sweep.close()

    def _close_all(self) -> None:
        for connection in list(self._host.connections):
            connection.close()
        for http in list(self._context.state.connections):
            http.transport.close()

    def _stop_accepting(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        if self._hellos is not None:
            self._hellos.stop_accepting()

    def _free(self) -> int:
        greeting = 0 if self._hellos is None else len(self._hellos)
        return self._limits.connections - len(self._sweep.members) - greeting

    def _protocol(self) -> EdgeProtocol:
        return EdgeProtocol(self._context)

    def _greeted(self, ticket: Ticket) -> EdgeProtocol:
        return EdgeProtocol(self._context, ticket)

    def _tls_options(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {"ssl": self._tls, "ssl_handshake_timeout": self._limits.tls_handshake_seconds}

    def _make_host(self, control: Handler, keys: ServerKeys, work: FairQueue, lane_of: LaneOf) -> Host:
        limits, starts = self._limits, FairQueue(self._loop, slice_seconds=0)
        around = Surroundings(control, limits, work, starts, self._loop, lane_of, self._bodies)
        handshakes = FairQueue(
            self._loop,
            share=limits.handshake_share,
            others_wait=lambda: bool(work or starts),
            patience=limits.handshake_patience,
        )
        return Host(around, keys, handshakes, self._sweep)

    def _make_context(
        self, app: ASGIApplication, proxies: Proxies, upgrades: Mapping[str, Acceptor]
    ) -> Context:
        return Context(
            config=_uvicorn_config(app, self._limits),
            state=ServerState(),
            limits=self._limits,
            proxies=proxies,
            gate=Gate(self._limits.before_handshake, self._limits.handshake_patience, self._free),
            sweep=self._sweep,
            acceptors={CONTROL_PATH: control_acceptor(self._host), **upgrades},
            only_upgrades=frozenset((CONTROL_PATH,)),
            counts=self._host.counts,
            bodies=self._bodies,
            loop=self._loop,
        )


def set_options(sock: socket.socket, limits: Limits) -> None:
    """No delay, and a dead peer is noticed. Accepted sockets inherit it from the listener (Linux)."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.user_timeout_seconds * 1000))


def _uvicorn_config(app: ASGIApplication, limits: Limits) -> Config:
    """Only its HTTP protocol is used: no signals, no logging, no proxy headers, no lifespan."""
    config = Config(
        app,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=int(limits.keep_alive_seconds),
    )
    config.load()
    return config
