"""POST /machine/map: the long poll, lite updates and single fetches.

`Stream` is read-only (capability version 68): what such a request says of the node may be older than a
lite update on its way, so it is ignored. A lite update is answered with an empty body and disturbs no
stream.
"""

from collections.abc import Awaitable, Callable

from headscale_saas.control.arrivals import Arrivals
from headscale_saas.control.fetches import Fetches
from headscale_saas.control.request import Request
from headscale_saas.errors import Invalid, NotFound, Refused, Unavailable
from headscale_saas.live.cache import Cache, Snapshot
from headscale_saas.live.follower import Follower
from headscale_saas.live.hub import Hub
from headscale_saas.live.session import MapSession
from headscale_saas.store.directory import NodeRef
from headscale_saas.tailcfg import capver
from headscale_saas.tailcfg.codec import decode
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailcfg.maps import ZSTD, MapRequest
from headscale_saas.tailnet.model import Node

Lookup = Callable[[NodeKey], Awaitable[NodeRef | None]]
"""Asks the directory which node holds a key."""

Report = Callable[[NodeRef, MapRequest, Node | None], Awaitable[None]]
"""`actions.report.report` with all but the node, the request and the node as the cache has it filled in."""


class Map:
    """Finds the node, checks that it is the one at the other end, and serves its mode."""

    def __init__(
        self,
        lookup: Lookup,
        arrivals: Arrivals,
        report: Report,
        cache: Cache,
        follower: Follower,
        hub: Hub,
        fetches: Fetches,
    ) -> None:
        self._lookup = lookup
        self._arrivals = arrivals
        self._report = report
        self._cache = cache
        self._follower = follower
        self._hub = hub
        self._fetches = fetches

    async def __call__(self, request: Request) -> None:
        wish = decode(MapRequest, request.body)
        if wish.version < capver.FLOOR:
            raise Invalid(f"unsupported client version: {wish.version}")
        ref = await self._find(request.connection.machine, wish.node_key)
        if wish.stream:
            await self._open(request, wish, ref)
            return
        if not wish.read_only:
            await self._report(ref, wish, self._known(ref))
        if wish.omit_peers and not wish.read_only:
            request.stream.respond(200)
        else:
            await self._fetch(request, wish, ref)

    async def _find(self, machine: MachineKey, key: NodeKey) -> NodeRef:
        """The node with this key, on this machine. A stale cache is caught by what is done next."""
        ref = self._cached(key) or self._arrivals.take(key) or await self._lookup(key)
        if ref is None or ref.machine_key != machine:
            raise NotFound("node not found")
        return ref

    def _cached(self, key: NodeKey) -> NodeRef | None:
        found = self._cache.find_node(key)
        snapshot = self._cache.get(found[0]) if found else None
        if found is None or snapshot is None:
            return None
        node = snapshot.state.nodes[found[1]]
        return NodeRef(
            tailnet=found[0],
            node=node.id,
            machine_key=node.machine_key,
            node_key=key,
            version=snapshot.version,
        )

    def _known(self, ref: NodeRef) -> Node | None:
        snapshot = self._cache.get(ref.tailnet)
        return snapshot.state.nodes.get(ref.node) if snapshot else None

    async def _snapshot(self, ref: NodeRef) -> Snapshot:
        await self._follower.at_least(ref.tailnet, ref.version)
        snapshot = self._cache.get(ref.tailnet)
        if snapshot is None or ref.node not in snapshot.state.nodes:
            raise NotFound("node not found")
        return snapshot

    async def _open(self, request: Request, wish: MapRequest, ref: NodeRef) -> None:
        """Hands the stream to the hub; no task stays behind."""
        session = _session(request, wish, ref)
        self._hub.announce(ref.tailnet, session)
        try:
            snapshot = await self._snapshot(ref)
            if request.stream.closed:
                raise Refused("the client has left")
            if session.is_over:
                raise Unavailable("another stream of the node took its place")
        except BaseException:
            self._hub.leave(session)
            raise
        request.stream.start(200, {"content-type": "application/octet-stream"})
        self._hub.attach(ref.tailnet, snapshot, session)

    async def _fetch(self, request: Request, wish: MapRequest, ref: NodeRef) -> None:
        snapshot = await self._snapshot(ref)
        session = _session(request, wish, ref)
        steps = self._hub.fetching(snapshot, session, peers=not wish.omit_peers)
        await self._fetches.answer(ref.tailnet, ref.node, request.stream, steps)


def _session(request: Request, wish: MapRequest, ref: NodeRef) -> MapSession:
    return MapSession(
        ref.node,
        wish.node_key,
        request.stream,
        compressed=wish.compress == ZSTD,
        keep_alive=wish.keep_alive,
    )
