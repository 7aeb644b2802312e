"""HTTP/1.1, which every client speaks first: ambiguity is refused, upgrades leave, the rest is the app's."""

import asyncio
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import Any, Literal, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from headscale_saas.errors import Invalid
from headscale_saas.transport.addresses import Proxies, source
from headscale_saas.transport.bodies import Bodies, Share
from headscale_saas.transport.connection import Counts
from headscale_saas.transport.gate import Gate, Ticket
from headscale_saas.transport.heads import Head, Refusal, joined, judge
from headscale_saas.transport.limits import Limits
from headscale_saas.transport.sweep import NEVER, Sweep
from headscale_saas.transport.tls import is_meant, name_asked_for
from headscale_saas.transport.upgrades import Acceptor, Upgrade

_REASONS = {
    400: "Bad Request",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(slots=True)
class Context:
    """What all connections of the edge share. `only_upgrades`: paths that mean nothing without an upgrade."""

    config: Config
    state: ServerState
    limits: Limits
    proxies: Proxies
    gate: Gate
    sweep: Sweep
    acceptors: dict[str, Acceptor]
    only_upgrades: frozenset[str]
    counts: Counts
    bodies: Bodies
    loop: asyncio.AbstractEventLoop
    dated: int = 0

    def arrive(self, address: str) -> Ticket | None:
        """None: it is turned away, since the process has hardly any files left."""
        if self.proxies.trusts(address):
            return Ticket(None, "")
        ticket = self.gate.arrive(source(address))
        self.counts.turned_away += ticket is None
        return ticket

    def refresh_date(self) -> None:
        """The `Date` header of ordinary answers, once a second."""
        now = int(time.time())
        if now != self.dated:
            self.dated = now
            self.state.default_headers = [(b"date", formatdate(now, usegmt=True).encode())]


class EdgeProtocol(HttpToolsProtocol):
    """One connection, until it ends or leaves HTTP. Deadlines come from the sweep.

    `ticket` is given to who was counted when it was accepted.
    """

    def __init__(self, context: Context, ticket: Ticket | None = None) -> None:
        super().__init__(context.config, context.state, {}, context.loop)
        self.access_log = False
        self.check_at = NEVER
        self._context = context
        self._is_counted = ticket is not None
        self._ticket = ticket or Ticket(None, "")
        self._time_left = 0.0
        self._acceptor: asyncio.Protocol | None = None
        self._refusal: Refusal | None = None
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0
        self._shares: dict[RequestResponseCycle, Share] = {}
        self._over = False
        self._is_lost = False
        self._held: bytes | None = None
        self._cycles: list[RequestResponseCycle] = []

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._context.counts.connections += 1
        if not self._is_counted:
            ticket = self._context.arrive(self.client[0] if self.client else "")
            if ticket is None:
                self._turn_away()
                return
            self._ticket = ticket
        self._context.sweep.add(self)
        self._expect(self._context.limits.header_seconds)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._unset_keepalive_if_required()
        if self._held is not None:
            self._hold(data)
        elif self._in_head and not self._ticket.enter(self._admitted):
            self._wait_with(data)
        else:
            self._work_on(data)

    def _work_on(self, data: bytes) -> None:
        if self._in_head:
            self._expect(self._context.limits.header_seconds)
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._leave_http(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            refusal = self._refusal
            self._refuse(refusal.status if refusal else 400, str(refusal or "malformed request"))
        else:
            if self._in_head and self._head_bytes > self._context.limits.header_bytes:
                self._refuse(431, "header block too long")
            elif self._in_head:
                self._ticket.rest()  # while the rest is under way

    def timeout_keep_alive_handler(self) -> None:
        """Who has asked again and waits in the line is not idle."""
        if self._held is None:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        self._context.sweep.discard(self)
        self._ticket.leave()
        for cycle, _ in self.pipeline or ():
            self._give_body(cycle)
        self._over = self._is_lost = True
        self._silence_app()  # all that it answers: uvicorn knows of the newest request only
        super().connection_lost(exc)

    def check(self, now: float) -> None:
        """The header or the body took too long, or a refused client does not hang up."""
        self.check_at = NEVER
        self.transport.abort() if self._over else self.transport.close()

    # What the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._body_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > self._context.limits.header_count:
            self._fail(431, "too many header fields")

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._check_head()
        self._check_name()
        self._context.refresh_date()
        peer = self._believe_proxy()
        path, _, query = self.url.partition(b"?")
        acceptor = self._context.acceptors.get(path.decode("latin-1"))
        if acceptor is not None and self.parser.should_upgrade():
            self._accept(acceptor, peer, path.decode("latin-1"), query.decode("latin-1"))
        elif path.decode("latin-1") in self._context.only_upgrades:
            self._fail(400, "missing Upgrade")
        else:
            self._ticket.rest()
            super().on_headers_complete()
            self._cycles = [cycle for cycle in (*self._cycles, self.cycle) if not cycle.response_complete]
            self._shares[self.cycle] = Share(self._context.bodies, source(peer))
            self._expect(self._context.limits.body_seconds)

    def on_body(self, body: bytes) -> None:
        if self._body_bytes + len(body) > self._context.limits.body_bytes:
            self._fail(413, "body too long")
        self._body_bytes += len(body)
        if self.cycle.response_complete:
            return  # nobody keeps it
        if not self._shares[self.cycle].take(len(body)):
            self._fail(503, "too many unfinished requests")
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.check_at = NEVER
        self._in_head = True
        if self._acceptor is None:
            super().on_message_complete()

    # What answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, partial(self._run, cycle, app))

    async def _run(self, cycle: RequestResponseCycle, app: Any, *asgi: Any) -> None:
        """The app has the body until it has finished, also when the client is long gone."""
        try:
            await app(*asgi)
        finally:
            self._give_body(cycle)

    def _give_body(self, cycle: RequestResponseCycle) -> None:
        if share := self._shares.pop(cycle, None):
            share.give()

    # Behind the gate

    def _turn_away(self) -> None:
        self._over = True
        self.transport.abort()

    def _wait_with(self, data: bytes) -> None:
        """In the line, where the clock of the header stands still."""
        self._held, self._time_left = b"", self.check_at - self.loop.time()
        self.check_at = NEVER
        self._hold(data)

    def _hold(self, data: bytes) -> None:
        """What comes while we wait. Reading is paused: the first piece is mostly all there is."""
        self._held = (self._held or b"") + data
        self.transport.pause_reading()
        if len(self._held) > self._context.limits.held_bytes:
            self.transport.abort()

    def _admitted(self) -> bool:
        """Called by the gate, out of the end of another connection: the work is done later."""
        if self._is_lost or self.transport.is_closing():
            return False
        self.check_at = self.loop.time() + self._time_left
        self.loop.call_soon(self._go_on)
        return True

    def _go_on(self) -> None:
        held, self._held = self._held, None
        if self._is_lost or self.transport.is_closing():
            return
        self.transport.resume_reading()
        self._unset_keepalive_if_required()  # an earlier request may have been answered in the meantime
        if held:
            self._work_on(held)

    def _expect(self, seconds: float) -> None:
        """One stage, one deadline: a trickle does not move it."""
        if self.check_at == NEVER:
            self.check_at = self.loop.time() + seconds

    # Judging a header block

    def _check_head(self) -> None:
        self.check_at = NEVER
        try:
            judge(Head(self.url, self.headers, self.parser.get_http_version()), self._context.limits)
        except Refusal as refusal:
            self._refusal = refusal
            raise
        if len(self.pipeline) >= self._context.limits.pipelined_requests:
            self._fail(400, "too many pipelined requests")

    def _check_name(self) -> None:
        """A proxy of ours may ask for any name when it encrypts anew."""
        asked = name_asked_for(self.transport)
        if asked is None or (self.client and self._context.proxies.trusts(self.client[0])):
            return
        host = dict(self.headers).get(b"host")
        if host is not None and not is_meant(asked, host.decode("latin-1")):
            self._fail(421, "this connection was opened for another host")

    def _believe_proxy(self) -> str:
        """Who the client is; what a trusted proxy says is put into the app's scope as well."""
        if self.client is None:
            return ""
        address, port = self.client
        if not self._context.proxies.trusts(address):
            return address
        told = b",".join(value for name, value in self.headers if name == b"x-forwarded-for")
        peer = self._context.proxies.client(address, told.decode("latin-1"))
        scheme = dict(self.headers).get(b"x-forwarded-proto", b"").decode("latin-1").strip().lower()
        self.scope["client"] = (peer, port if peer == address else 0)
        if scheme in ("http", "https"):
            self.scope["scheme"] = cast(Literal["http", "https"], scheme)
        return peer

    def _fail(self, status: int, words: str) -> None:
        self._refusal = Refusal(status, words)
        raise self._refusal

    # Leaving HTTP

    def _accept(self, acceptor: Acceptor, peer: str, path: str, query: str) -> None:
        headers = joined(self.headers)
        if headers.get("content-length", "0").strip("0") or "transfer-encoding" in headers:
            self._fail(400, "an upgrade has no body")
        if self.cycle is not None and not self.cycle.response_complete:
            self._fail(400, "an upgrade cannot overtake an answer")
        method, protocol = self.parser.get_method().decode("latin-1"), headers.get("upgrade", "").lower()
        upgrade = Upgrade(peer, method, path, query, protocol, headers, self._ticket)
        try:
            self._acceptor = acceptor(upgrade)
        except Invalid as error:
            self._fail(400, error.message)

    def _leave_http(self, rest: bytes) -> None:
        """The socket changes hands; what was read after the request goes with it."""
        protocol, transport = self._acceptor, self.transport
        if protocol is None:
            self._ignore_upgrade()
            return
        self._over, self._acceptor, self.check_at = True, None, NEVER
        self._ticket = Ticket(None, "")
        self._context.sweep.discard(self)
        self.connections.discard(self)
        self.parser = self.transport = self.flow = self.cycle = self.scope = None  # type: ignore[assignment]
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest:
            protocol.data_received(rest)

    def _ignore_upgrade(self) -> None:
        """An upgrade we do not offer is an ordinary request, but ends the connection (RFC 9110, 7.8)."""
        self._over = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Strangers do not write into our log."""

    def _refuse(self, status: int, words: str) -> None:
        """Answers and stops reading into the parser; the socket is closed when the client has read it."""
        self._over = True
        self._ticket.rest()  # it counts until it has hung up: else who never does could take all files
        self._context.counts.refused_requests += 1
        if self._silence_app():
            self.transport.abort()
            return
        body = f"{words}\n".encode()
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._linger()

    def _silence_app(self) -> bool:
        """The app is told that the client has left; what it still says goes nowhere. True: it is in the
        middle of an answer."""
        unfinished = [cycle for cycle in self._cycles if not cycle.response_complete]
        for cycle in unfinished:
            cycle.disconnected = True
            cycle.message_event.set()
        return any(cycle.response_started for cycle in unfinished)

    def _linger(self) -> None:
        """Closing with unread bytes would reset the connection and take the answer away from the client."""
        self.check_at = self.loop.time() + self._context.limits.linger_seconds
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
