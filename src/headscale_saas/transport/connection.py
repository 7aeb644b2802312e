"""One Noise connection: the handshake, then records around an HTTP/2 session, with back-pressure."""

import asyncio
import logging
import secrets
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, cast

from headscale_saas.errors import ProtocolError
from headscale_saas.tailcfg.keys import ChallengeKey, PrivateKey
from headscale_saas.transport.addresses import source
from headscale_saas.transport.fair import FairQueue
from headscale_saas.transport.gate import Ticket
from headscale_saas.transport.session import Http2Session
from headscale_saas.transport.streams import Connection, Surroundings
from headscale_saas.transport.sweep import NEVER, Sweep
from headscale_saas.wire.early import early_payload
from headscale_saas.wire.noise import BadFraming, Introduction, ServerKeys, hear
from headscale_saas.wire.records import Opener, Sealer

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """Since the start, for metrics: what strangers send is counted, not logged."""

    connections: int = 0
    refused_requests: int = 0
    handshakes: int = 0
    handshakes_by_old_key: int = 0
    """Those among them whose client does not know our serving key yet."""
    failed_handshakes: int = 0
    turned_away: int = 0
    """Connections that were closed at once, for want of files."""


@dataclass(slots=True)
class Host:
    """What all Noise connections of a process share. `keys` may be replaced at any time."""

    around: Surroundings
    keys: ServerKeys
    handshakes: FairQueue
    sweep: Sweep
    connections: "set[NoiseConnection]" = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True, slots=True)
class Opening:
    """How a connection begins: what goes before the response, what is said instead to a bad handshake."""

    initiation: bytes
    preamble: bytes
    refusal: bytes
    early: bool


class Carrier(Protocol):
    """The part of `asyncio.Transport` that is used: a socket, or WebSocket messages on one."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool: ...
    def set_write_buffer_limits(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class NoiseConnection(asyncio.Protocol):
    """Takes the socket over from HTTP. Receiving only appends; the work is done in the fair queues."""

    __slots__ = (
        "_carrier",
        "_congested_since",
        "_digesting",
        "_host",
        "_inbox",
        "_inbox_bytes",
        "_opener",
        "_opening",
        "_peer",
        "_sealer",
        "_session",
        "_ticket",
        "check_at",
        "closing",
        "congested",
    )

    def __init__(self, host: Host, peer: str, ticket: Ticket, opening: Opening) -> None:
        self._host = host
        self._peer = peer
        self._ticket = ticket
        self._opening: Opening | None = opening
        self._carrier: Carrier | None = None
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._session: Http2Session | None = None
        self._inbox: list[bytes] = []
        self._inbox_bytes = 0
        self._digesting = False
        self._congested_since = NEVER
        self.congested = False
        self.closing = False
        self.check_at = NEVER

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host, limits = self._host, self._host.around.limits
        self._carrier = cast(Carrier, transport)
        self._carrier.set_write_buffer_limits(high=limits.write_buffer_bytes)
        host.connections.add(self)
        host.sweep.add(self)
        self.expect(host.around.loop.time() + limits.handshake_seconds)
        host.handshakes.submit(source(self._peer), self._open)

    def data_received(self, data: bytes) -> None:
        self._inbox.append(data)
        self._inbox_bytes += len(data)
        if self._inbox_bytes > self._host.around.limits.read_buffer_bytes and self._carrier is not None:
            self._carrier.pause_reading()
        self._digest_soon()

    def pause_writing(self) -> None:
        self.congested = True
        self._congested_since = self._host.around.loop.time()
        self.expect(self._congested_since + self._host.around.limits.stall_seconds)

    def resume_writing(self) -> None:
        self.congested = False
        self._congested_since = NEVER
        if self._session is not None:
            self._session.out.drain_soon()
        self._digest_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """A thousand may be lost at once: what follows from it is work like any other."""
        self.closing = True
        self._carrier = None
        self._inbox.clear()
        self._ticket.leave()
        if self._session is None:
            self._forget()
        else:
            self._host.around.work.submit(self._lane(), self._forget)

    # What the session calls

    def send(self, plaintext: bytes) -> None:
        """Seals and writes; a connection that cannot be written to is closed, and the caller not troubled."""
        if self.closing or self._carrier is None or self._sealer is None:
            return
        try:
            self._carrier.write(self._sealer.seal(plaintext))
        except Exception:
            _log.exception("a connection could not be written to")
            self.closing = True
            self._carrier.abort()

    def close(self) -> None:
        """Closes when what was written has left, and at the latest after the lingering time."""
        if not self.closing and self._carrier is not None:
            self.closing = True
            self._carrier.close()
            self.check_at = self._host.around.loop.time() + self._host.around.limits.linger_seconds

    def expect(self, deadline: float) -> None:
        self.check_at = min(self.check_at, deadline)

    # What the sweep and the server call

    def check(self, now: float) -> None:
        self.check_at = NEVER
        stalled = self._congested_since + self._host.around.limits.stall_seconds
        if self.closing or self._session is None or now >= stalled:
            self._abort()
            return
        self.expect(min(self._session.check(now), stalled))

    def retire(self) -> None:
        """The gentle end: the client is told to dial again, and its answers are finished."""
        if self._session is None:
            self.close()
        else:
            self._session.retire()

    def _abort(self) -> None:
        self.closing = True
        if self._carrier is not None:
            self._carrier.abort()

    def _forget(self) -> None:
        """The connection is gone."""
        self._host.connections.discard(self)
        self._host.sweep.discard(self)
        session, self._session = self._session, None
        if session is not None:
            session.lost()

    def _lane(self) -> Hashable | None:
        session = self._session
        return None if session is None else self._host.around.lane_of(session.connection.machine)

    # The handshake

    def _open(self) -> None:
        """Finds out who calls. Until now they waited with their address, from now on with their tailnet."""
        opening, self._opening = self._opening, None
        if opening is None or self._is_gone():
            return
        try:
            caller = hear(opening.initiation, self._host.keys)
        except BadFraming as error:
            self._refuse(opening.preamble + error.reply)
        except ProtocolError:
            self._refuse(opening.refusal)
        else:
            self._ticket.leave()
            lane = self._host.around.lane_of(caller.machine_key)
            greet = partial(self._greet, opening, caller)
            if lane is None:  # their own lane: nobody who is told apart waits behind them
                self._host.handshakes.submit(("stranger", source(self._peer)), greet)
            else:
                self._host.around.work.submit(lane, greet)

    def _is_gone(self) -> bool:
        return self.closing or self._carrier is None or self._carrier.is_closing()

    def _refuse(self, reply: bytes) -> None:
        self._host.counts.failed_handshakes += 1
        if self._carrier is not None and reply:
            self._carrier.write(reply)
        self._ticket.leave()
        self.close()

    def _greet(self, opening: Opening, caller: Introduction) -> None:
        """Everything the client waits for, in one write."""
        if self._is_gone():
            return
        try:
            accepted = caller.accept(PrivateKey(secrets.token_bytes(32)))
        except ProtocolError:
            self._refuse(opening.refusal)
            return
        self._host.counts.handshakes += 1
        self._host.counts.handshakes_by_old_key += caller.server_key != self._host.keys.serving
        self._sealer = sealer = Sealer(accepted.channel.server_to_client)
        self._opener = Opener(accepted.channel.client_to_server)
        who = Connection(accepted.machine_key, accepted.protocol_version, self._peer)
        self.check_at = NEVER
        self._session = Http2Session(self, who, self._host.around)
        early = early_payload(_challenge()) if opening.early else b""
        if self._carrier is not None:
            greeting = sealer.seal(early + self._session.greeting())
            self._carrier.write(opening.preamble + accepted.response + greeting)
        self._digest_soon()

    # Reading

    def _digest_soon(self) -> None:
        session = self._session
        if session is not None and self._inbox and not self._digesting and not self.congested:
            self._digesting = True
            self._host.around.work.submit(self._lane(), self._digest(session))

    def _digest(self, session: Http2Session) -> Iterator[None]:
        """A step for each frame. Answers wait for a congested socket, so requests wait too."""
        while self._inbox and not self.congested and not self.closing:
            data = b"".join(self._inbox)
            self._inbox.clear()
            if self._inbox_bytes > self._host.around.limits.read_buffer_bytes and self._carrier is not None:
                self._carrier.resume_reading()
            self._inbox_bytes = 0
            yield from self._frames(session, data)
        self._digesting = False

    def _frames(self, session: Http2Session, data: bytes) -> Iterator[None]:
        if self._opener is None:
            return
        try:
            for plaintext in self._opener.feed(data):
                yield from session.receive(plaintext)
                if self.closing:
                    return
        except ProtocolError:
            self.close()


def _challenge() -> ChallengeKey:
    """Any 32 bytes are a public key of X25519; no client has ever answered the challenge."""
    return ChallengeKey(secrets.token_bytes(32))
