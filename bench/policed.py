"""One tailnet under a policy: the workloads W1 to W4 among those who see each other, and W7, a new policy.

Where many come at once (W1, W4) the load is the Go program, if it is here: our own swarm would be what is
measured. It does not know who must hear of whom, so the rest is our swarm's, on a server of its own; there
each client knows whom it sees. In both they belong to many users and tags; the Go program routes nothing.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import uvloop
from msgspec.structs import replace

from bench import goload
from bench.goload import Load, Meter
from bench.ownload import measured
from bench.policies import Owner, Scene, node_of, scene
from bench.server import Server
from headscale_saas.cli.connect import connected
from headscale_saas.cli.direct import DirectClient
from headscale_saas.clock import SystemClock
from headscale_saas.config import load
from headscale_saas.policy import compile_policy
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.crowd import Crowd, raise_file_limit
from headscale_saas.swarm.plan import Plan
from headscale_saas.swarm.report import percentile

TAILNET = "bench"
FIRST_PORT = 41_001
CHANGES = 3


@dataclass
class Reload:
    """W7. Milliseconds: until the change was accepted, and until clients had the new filter, both counted
    from the call; CPU of the server for a change, and of the one who set it (he compiles it, too)."""

    accepted: float
    p50: float
    p99: float
    last: float
    cpu: float
    callers_cpu: float
    bytes_each: float
    missing: int


@dataclass
class Policed:
    kind: str
    load: Load
    reload: Reload
    clean: bool


def crowd(server: Server, kind: str, clients: int, cores: set[int]) -> Load | None:
    """All join at once, rest, and reconnect at once, by the Go program; None if it is not to be had."""
    binary, _ = goload.program()
    if binary is None:
        return None
    made = scene(kind, clients)
    keys = uvloop.run(_keys(server, made))
    each = [keys[owner] for owner in made.owners]
    return goload.run(binary, server, each, clients, cores=cores, phases="W1,W6,W4")


async def _keys(server: Server, made: Scene) -> Mapping[Owner, str]:
    async with _admin(server) as admin:
        return await _prepare(admin, made)


def run(server: Server, kind: str, clients: int, rounds: int, crowded: Load | None) -> Policed:
    """`crowded`: its phases are taken instead of our own swarm's."""
    raise_file_limit()
    policed = uvloop.run(_run(server, scene(kind, clients), rounds))
    if crowded is not None:
        policed.load.phases |= crowded.phases
        policed.load.before = crowded.before
        policed.load.source = "W1, W4, W6 official client code (goswarm), else our own swarm"
    return policed


async def _run(server: Server, made: Scene, rounds: int) -> Policed:
    async with _admin(server) as admin:
        keys = await _prepare(admin, made)
        plan = Plan(
            server.url, tuple(keys.values()), clients=len(made.owners), rounds=rounds, pause_seconds=0.5
        )
        crowd = Company(plan, scene=made, owners_keys=keys)
        load = Load(plan.clients, server.usage(), rounds, "our own swarm")
        meter = Meter(server, os.getpid())
        for step in (crowd.join, crowd.idle, crowd.visible, crowd.endpoint, crowd.storm):
            await measured(step(), crowd, load, meter)
        reload = await _reload(server, admin, crowd)
        report = await crowd.finish()
    load.lines += report.verdict()
    return Policed(made.kind, load, reload, report.is_clean)


@asynccontextmanager
async def _admin(server: Server) -> AsyncIterator[DirectClient]:
    async with connected(load(server.config_file).config, TAILNET, SystemClock()) as admin:
        yield admin


async def _prepare(admin: DirectClient, made: Scene) -> Mapping[Owner, str]:
    """The tailnet with its users and policy, and a reusable key for each kind of owner."""
    await admin.create_tailnet(TAILNET)
    users = [await admin.create_user(email.partition("@")[0], email=email) for email in made.users]
    if made.text:
        await admin.set_policy(made.text)
    expiration, keys = SystemClock().now() + timedelta(days=1), {}
    for owner in dict.fromkeys(made.owners):
        user = users[owner.user - 1].id if owner.user else 0
        key = await admin.create_auth_key(
            user=user, reusable=True, ephemeral=False, expiration=expiration, tags=owner.tags
        )
        keys[owner] = key.key
    return keys


@dataclass
class Company(Crowd):
    """A crowd in one tailnet, in which not everyone sees everyone."""

    scene: Scene = field(kw_only=True)
    owners_keys: Mapping[Owner, str] = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._sights = sights(self.scene)

    def newcomer(self) -> Client:
        number, self._made = self._made, self._made + 1
        decodes = number % max(round(1 / self.plan.decode), 1) == 0
        client = Client(self.site, tailnet=self.plan.label, number=number, decodes=decodes)
        client.hostname = f"{client.hostname}-{self.plan.run}"
        routes = self.scene.owner_of(number).routes
        client.said.hostinfo = replace(client.said.hostinfo, hostname=client.hostname, routable_ips=routes)
        return client

    def key_of(self, client: Client) -> str:
        return self.owners_keys[self.scene.owner_of(client.number)]

    def neighbours(self, client: Client) -> list[Client]:
        """Those who see it, and whom it sees."""
        seen = self._sights[self.scene.owner_of(client.number)]
        return [
            other
            for other in self.clients
            if other is not client and self.scene.owner_of(other.number) in seen
        ]


def sights(made: Scene) -> Mapping[Owner, frozenset[Owner]]:
    """Whose nodes see whose, by the policy itself: of every owner two nodes."""
    owners = tuple(dict.fromkeys(made.owners))
    state = Scene(made.kind, made.text, made.users, owners * 2).state()
    compiled = compile_policy(state.policy_text, state)
    count = len(owners)
    first = {owner: compiled.audience(node_of(place, owner)) for place, owner in enumerate(owners, 1)}
    second = {owner: node_of(place + count, owner) for place, owner in enumerate(owners, 1)}
    return {
        viewer: frozenset(owner for owner, node in second.items() if compiled.sees(audience, node))
        for viewer, audience in first.items()
    }


async def _reload(server: Server, admin: DirectClient, crowd: Company) -> Reload:
    """W7: the policy is set to a variant with a rule for everybody, a few times."""
    accepted, callers, waits, sizes = [], [], [], []
    before, missing = server.usage(memory=False), 0
    loop = asyncio.get_running_loop()
    for port in range(FIRST_PORT, FIRST_PORT + CHANGES):
        futures = [client.inbox.watch(f'"First":{port}'.encode()) for client in crowd.clients]
        text, start, own = crowd.scene.variant(port), loop.time(), time.process_time()
        await admin.set_policy(text)
        callers.append((time.process_time() - own) * 1000)
        accepted.append((loop.time() - start) * 1000)
        await asyncio.wait(futures, timeout=crowd.plan.limit_seconds)
        seen = [future.result() for future in futures if future.done()]
        waits += [(one.at - start) * 1000 for one in seen]
        sizes += [one.size for one in seen]
        missing += len(futures) - len(seen)
        for client in crowd.clients:
            client.inbox.unwatch()
        await crowd.settle()
    spent = server.usage(memory=False).since(before)
    return Reload(
        accepted=percentile(accepted, 0.5),
        p50=percentile(waits, 0.5),
        p99=percentile(waits, 0.99),
        last=percentile(waits, 1.0),
        cpu=spent.cpu * 1000 / CHANGES,
        callers_cpu=percentile(callers, 0.5),
        bytes_each=sum(sizes) / max(len(sizes), 1),
        missing=missing,
    )
