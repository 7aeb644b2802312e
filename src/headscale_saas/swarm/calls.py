"""A client's requests: over the connection it has, or over a new one."""

import asyncio

from headscale_saas.errors import Unavailable
from headscale_saas.swarm.connection import Connection
from headscale_saas.swarm.http2 import Headers
from headscale_saas.swarm.identity import Identity
from headscale_saas.swarm.site import Site
from headscale_saas.tailcfg.codec import Wire, encode


class Calls:
    """One connection at a time; it is dialled when something is asked and there is none that may be used.

    Every method raises OSError, ProtocolError or Unavailable if the server cannot be reached.
    """

    __slots__ = ("_dialling", "connection", "dials", "identity", "site")

    def __init__(self, site: Site, identity: Identity) -> None:
        self.site = site
        self.identity = identity
        self.connection: Connection | None = None
        self.dials = 0
        self._dialling = asyncio.Lock()

    async def connected(self) -> Connection:
        async with self._dialling:
            if self.connection is None or not self.connection.usable:
                self.dials += 1
                self.connection = await Connection.dial(self.site, self.identity.machine)
            return self.connection

    async def post(self, path: str, message: Wire) -> bytes:
        """The body of the answer. Raises UnexpectedStatus for any status but 200."""
        connection = await self.connected()
        return (await connection.call(path, encode(message), self.headers())).demand_ok(path)

    def headers(self) -> Headers:
        """`ts-lb`: the old node key and the new one, where there are both (`control/ts2021:AddLBHeader`)."""
        return [
            ("ts-lb", str(key))
            for key in (self.identity.old_node_key, self.identity.node_key)
            if not key.is_zero
        ]

    def live(self) -> Connection:
        """The connection. Raises Unavailable if there is none."""
        if self.connection is None or self.connection.closed:
            raise Unavailable("the client is not connected")
        return self.connection
