"""One simulated Tailscale client: it joins, keeps its long poll, reports, and comes back after a loss.

    async with Client(url, tailnet="acme") as client:
        await client.join(auth_key)
        await client.netmap_where(lambda netmap: len(netmap.peers) == 3)

All waits have a time limit and raise TimeoutError. Why polls ended is kept in `client.troubles`.
"""
# ruff: noqa: ASYNC109 - the limit is part of what a test asks for

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from headscale_saas.errors import Refused
from headscale_saas.swarm.calls import Calls
from headscale_saas.swarm.identity import Identity, Mark, hostinfo
from headscale_saas.swarm.inbox import Inbox, Predicate
from headscale_saas.swarm.netmap import ClientNetmap
from headscale_saas.swarm.poller import Poller
from headscale_saas.swarm.sayings import LOGOUT, Said, map_request, register_request
from headscale_saas.swarm.site import Site
from headscale_saas.tailcfg.codec import Json, decode
from headscale_saas.tailcfg.maps import MapRequest
from headscale_saas.tailcfg.register import RegisterResponse

TIMEOUT = 10.0
_numbers = itertools.count(1)


class Client:
    """`tailnet` is the caller's label for the tailnet, which gives the marks; it need not be its name.

    `decodes` False: messages are only counted, and `netmap_where` is of no use.
    `reconnects` False: a lost poll is not opened again.
    """

    def __init__(
        self,
        site: Site | str,
        *,
        tailnet: str,
        number: int | None = None,
        hostname: str | None = None,
        identity: Identity | None = None,
        decodes: bool = True,
        reconnects: bool = True,
    ) -> None:
        self.site = Site(site) if isinstance(site, str) else site
        self.number = next(_numbers) if number is None else number
        self.mark = Mark.of(tailnet)
        self.hostname = hostname or f"{self.mark.text}-{self.number:05d}"
        self.said = Said(
            identity or Identity(),
            hostinfo(self.mark, self.hostname),
            (self.mark.endpoint(1 + self.number % 65535),),
            self.site.capver,
        )
        self.inbox = Inbox(self.mark, self.hostname, self.site.oracle, decodes=decodes)
        self.calls = Calls(self.site, self.said.identity)
        self.poller = Poller(self.calls, self.inbox, self._poll_request, reconnects=reconnects)
        self.registered: RegisterResponse | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        if error is None:
            self.site.oracle.demand_clean()

    # --- joining and leaving ---

    async def join(
        self, auth_key: str = "", *, timeout: float = TIMEOUT, ephemeral: bool = False
    ) -> RegisterResponse:
        """Registers, opens the poll and reports the endpoints; returns after the first full netmap.

        Raises Refused with the server's words; with "code" `auth_url` if it wants a person first.
        """
        async with asyncio.timeout(timeout):
            response = await self.register(auth_key, ephemeral=ephemeral)
            if response.auth_url:
                raise Refused(response.auth_url, code="auth_url")
            await self.start_polling(timeout)
        return response

    async def register(
        self,
        auth_key: str = "",
        *,
        followup: str = "",
        expiry: datetime | None = None,
        ephemeral: bool = False,
        tailnet: str = "",
    ) -> RegisterResponse:
        """One `/machine/register`. Raises Refused with the server's words, UnexpectedStatus, or what dialling
        raises. `followup` is an `auth_url` from before: the answer comes when a person has decided."""
        response = decode(
            RegisterResponse,
            await self.calls.post(
                "/machine/register",
                register_request(
                    self.said,
                    auth_key=auth_key,
                    followup=followup,
                    expiry=expiry,
                    ephemeral=ephemeral,
                    tailnet=tailnet,
                ),
            ),
        )
        if response.error:
            raise Refused(response.error)
        self.registered = response
        return response

    async def start_polling(self, timeout: float = TIMEOUT) -> None:
        """Poll and lite update start at the same moment, as after a login. Returns after the full netmap."""
        full = asyncio.create_task(self.inbox.full(timeout))
        self.poller.start()
        try:
            await self.report()
            await full
        finally:
            full.cancel()

    async def rotate(self, auth_key: str = "", *, timeout: float = TIMEOUT) -> RegisterResponse:
        """Logs in again with a new node key, and starts a new poll under it."""
        self.identity.rotate()
        return await self.join(auth_key, timeout=timeout)

    async def logout(self, auth_key: str = "") -> RegisterResponse:
        """Asks to expire the key in the past, as `tailscale logout` does; stops polling."""
        self.poller.stop()
        return await self.register(auth_key, expiry=LOGOUT)

    # --- what it says ---

    async def report(self) -> None:
        """A lite update: all it has to say of itself."""
        await self.calls.post("/machine/map", map_request(self.said, stream=False))

    async def update_endpoints(self, endpoints: Sequence[str]) -> None:
        """`ip:port` texts; see also `self.mark.endpoint`."""
        self.said.endpoints = tuple(endpoints)
        await self.report()

    async def update_hostinfo(self, **changes: Json) -> None:
        """Members of `tailcfg.hostinfo.Hostinfo`, in snake_case."""
        self.said.hostinfo = replace(self.said.hostinfo, **changes)
        await self.report()

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Anything else inside Noise; returns status and body. What it says is shown to the oracle."""
        connection = await self.calls.connected()
        reply = await connection.call(path, body, self.calls.headers(), method)
        self.site.oracle.check(self.mark, bytes(reply.body), f"{path} of {self.hostname}")
        return reply.status, bytes(reply.body)

    # --- what it knows ---

    @property
    def identity(self) -> Identity:
        return self.said.identity

    @property
    def endpoints(self) -> tuple[str, ...]:
        """What it reported last, or is about to."""
        return self.said.endpoints

    @property
    def netmap(self) -> ClientNetmap:
        """The last one. Raises LookupError before the first."""
        if self.inbox.netmap is None:
            raise LookupError(f"{self.hostname} has no netmap")
        return self.inbox.netmap

    async def netmap_where(self, predicate: Predicate, timeout: float = TIMEOUT) -> ClientNetmap:
        """The netmap as soon as the predicate holds for it; also raises IsolationBroken."""
        return await self.inbox.where(predicate, timeout)

    @property
    def is_connected(self) -> bool:
        """It polls, on a connection that is open."""
        return (
            self.poller.is_wanted and self.calls.connection is not None and not self.calls.connection.closed
        )

    @property
    def troubles(self) -> deque[Exception]:
        """Why the last polls ended."""
        return self.poller.troubles

    # --- how it gets lost ---

    async def reconnect(self, timeout: float = TIMEOUT) -> None:
        """Loses its connection and comes back by itself, with the back-off; returns after the full netmap."""
        full = asyncio.create_task(self.inbox.full(timeout))
        self.drop()
        await full

    def drop(self) -> None:
        """The connection breaks with RST; the client comes back if it `reconnects`."""
        self.calls.live().abort()

    def vanish(self) -> bool:
        """Gone for good, without a packet; False if that is not possible here and it was a RST."""
        self.poller.stop()
        return self.calls.live().vanish()

    def stall(self) -> None:
        """Stops reading, but stays connected."""
        self.calls.live().pause()

    def unstall(self) -> None:
        self.calls.live().resume()

    async def close(self) -> None:
        """Leaves: no poll any more, FIN. It may join again."""
        self.poller.stop()
        if self.calls.connection:
            await self.calls.connection.close()

    def _poll_request(self) -> MapRequest:
        return map_request(self.said, stream=True)
