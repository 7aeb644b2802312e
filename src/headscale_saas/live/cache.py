"""What this process knows of the tailnets it serves.

A snapshot is exact for its version: it gets old, never wrong. `catch_up` makes the next one from the
change log. After a failover (another database identity) everything is dropped and loaded again.
"""

from collections.abc import Collection, Iterable, Iterator

import msgspec

from headscale_saas.errors import Error, Unavailable
from headscale_saas.live.compiling import Compiling
from headscale_saas.netmap.view import Environment
from headscale_saas.observe import get_logger
from headscale_saas.policy import Compiled, advance
from headscale_saas.store import changelog
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import FeedTx
from headscale_saas.tailcfg.keys import MachineKey, NodeKey
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId, TailnetId, Version
from headscale_saas.tailnet.state import TailnetState

log = get_logger(__name__)


class Snapshot(msgspec.Struct, frozen=True):
    """All that the netmaps of one tailnet are made of, at one version."""

    state: TailnetState
    compiled: Compiled
    environment: Environment

    @property
    def version(self) -> Version:
        return self.state.version


class Step(msgspec.Struct, frozen=True):
    """A snapshot, and what distinguishes it from the one before it; None: that is not known, as after a
    failover, and rows of the one before may be gone."""

    snapshot: Snapshot
    touched: Touched | None


class Cache:
    """Snapshots by tailnet, and indexes of their keys. Written by the follower's task only."""

    def __init__(self, database: Database, environment: Environment) -> None:
        self._database = database
        self._snapshots: dict[TailnetId, Snapshot] = {}
        self._keys: dict[NodeKey, tuple[TailnetId, NodeId]] = {}
        self._machines: dict[MachineKey, TailnetId] = {}
        self._identity: object = None
        self._full: set[TailnetId] = set()
        self.environment = environment
        self.compiling = Compiling()

    @property
    def tailnets(self) -> Collection[TailnetId]:
        return self._snapshots.keys()

    def get(self, tailnet: TailnetId) -> Snapshot | None:
        return self._snapshots.get(tailnet)

    def find_node(self, key: NodeKey) -> tuple[TailnetId, NodeId] | None:
        """Which node held this key when its tailnet was last read; None says only "not cached here"."""
        return self._keys.get(key)

    def tailnet_of(self, machine: MachineKey) -> TailnetId | None:
        """A tailnet in which this machine has a node; None says only "not cached here"."""
        return self._machines.get(machine)

    def evict(self, tailnet: TailnetId) -> None:
        """Forgets a tailnet that nobody is connected to; the next to come loads it again."""
        self.compiling.forget(tailnet)
        self._full.discard(tailnet)
        snapshot = self._snapshots.pop(tailnet, None)
        if snapshot is not None:
            for node in snapshot.state.nodes.values():
                self._drop(tailnet, node)

    async def catch_up(self, tailnets: Iterable[TailnetId]) -> dict[TailnetId, Step | Error]:
        """Brings these up to date, up to 1,000 in one transaction, loading those not cached.

        Returns what moved. A tailnet whose policy must be compiled first does not move before
        `compiling.ready` tells to ask again. A tailnet that no longer exists (NotFound), or whose rows
        cannot be served, is evicted; its error is in the result, and the others are not concerned.
        """
        outcomes: dict[TailnetId, changelog.Moved | Error] = {}
        for part in _parts(sorted(tailnets)):
            async with self._database.feed(part) as feed:
                self._drop_after_failover(feed.identity)
                outcomes |= await self._read(feed, part)
        # Nothing is awaited from here on: whoever finds a snapshot here must find it published, too.
        adopted = {tailnet: self._adopt(tailnet, outcome) for tailnet, outcome in outcomes.items()}
        return {tailnet: step for tailnet, step in adopted.items() if step is not None}

    async def _read(
        self, feed: FeedTx, tailnets: Collection[TailnetId]
    ) -> dict[TailnetId, changelog.Moved | Error]:
        """What moved, for the cached ones by the log and for the others by a load."""
        known = {id_: snap.state for id_ in tailnets if (snap := self._snapshots.get(id_))}
        outcomes: dict[TailnetId, changelog.Moved | Error] = {**await changelog.catch_up_many(feed, known)}
        for tailnet in tailnets:
            if tailnet not in known:
                outcomes[tailnet] = await _load(feed, tailnet)
        return outcomes

    def _adopt(self, tailnet: TailnetId, outcome: changelog.Moved | Error) -> Step | Error | None:
        try:
            if isinstance(outcome, Error):
                raise outcome
            return self._put(tailnet, *outcome)
        except Error as error:
            self.evict(tailnet)
            return error
        except Exception as fault:  # a row that we did not think of; the others are not concerned
            log.error("tailnet_not_understood", exc_info=fault, tailnet=tailnet)
            self.evict(tailnet)
            return Unavailable("this tailnet cannot be served now")

    def _put(self, tailnet: TailnetId, state: TailnetState, touched: Touched) -> Step | None:
        before = self._snapshots.get(tailnet)
        compiled: Compiled | None
        if before is not None and before.state.policy_text == state.policy_text:
            self.compiling.forget(tailnet)
            compiled = advance(before.compiled, before.state, state, touched)
        else:
            compiled = self.compiling.compiled(tailnet, state)
        if compiled is None:
            return None
        self._tell_if_full(tailnet, state, compiled)
        snapshot = Snapshot(state, compiled, self.environment)
        self._index(tailnet, before.state if before else None, state, touched)
        self._snapshots[tailnet] = snapshot
        return Step(snapshot, touched if before is not None else None)

    def _tell_if_full(self, tailnet: TailnetId, state: TailnetState, compiled: Compiled) -> None:
        """In the log, once while it is cached: whoever joins now is let in nowhere, and may ask why."""
        if not compiled.is_full:
            self._full.discard(tailnet)
        elif tailnet not in self._full:
            self._full.add(tailnet)
            log.warning("policy_full", tailnet=tailnet, nodes=len(state.nodes))

    def _index(
        self, tailnet: TailnetId, before: TailnetState | None, after: TailnetState, touched: Touched
    ) -> None:
        for node_id in touched.nodes:
            if before is not None and (old := before.nodes.get(node_id)) is not None:
                self._drop(tailnet, old)
            if (new := after.nodes.get(node_id)) is not None:
                self._keys[new.node_key] = (tailnet, node_id)
                self._machines[new.machine_key] = tailnet

    def _drop(self, tailnet: TailnetId, node: Node) -> None:
        self._keys.pop(node.node_key, None)
        if self._machines.get(node.machine_key) == tailnet:
            del self._machines[node.machine_key]

    def _drop_after_failover(self, identity: object) -> None:
        """Versions of another timeline may number other changes; nothing cached can be trusted."""
        if self._identity not in (None, identity):
            self._snapshots.clear()
            self._keys.clear()
            self._machines.clear()
        self._identity = identity

    def renew_environment(self, environment: Environment) -> list[Snapshot]:
        """Puts a new DERP map (or another process-wide fact) into every snapshot."""
        self.environment = environment
        for tailnet, old in self._snapshots.items():
            self._snapshots[tailnet] = Snapshot(old.state, old.compiled, environment)
        return list(self._snapshots.values())


async def _load(feed: FeedTx, tailnet: TailnetId) -> changelog.Moved | Error:
    try:
        state = await changelog.load(feed, tailnet)
    except Unavailable:
        raise  # the database, not this tailnet
    except Error as error:
        return error
    return changelog.Moved(state, _everything(state))


def _parts(tailnets: list[TailnetId]) -> Iterator[list[TailnetId]]:
    for start in range(0, len(tailnets), FeedTx.MOST):
        yield tailnets[start : start + FeedTx.MOST]


def _everything(state: TailnetState) -> Touched:
    return Touched(nodes=frozenset(state.nodes), users=frozenset(state.users), settings=True, policy=True)
