"""Policies that are made to cost: each is refused or carried out in time, and no other tailnet waits."""

import asyncio
import json
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.policy_bombs import ACCEPTABLE, REFUSED
from tests.processes import Served
from tests.store_world import ADMIN, a_node, a_user, put_node, put_user
from tests.tailnets import make_node, make_state, make_user
from tests.waiting import until

from headscale_saas.actions import auth_keys, policies, tailnets, users
from headscale_saas.errors import Error, Invalid, LimitReached
from headscale_saas.policy import advance, check, compile_policy
from headscale_saas.policy.language import parse
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.netmap import ClientNetmap
from headscale_saas.swarm.site import Site
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import ClusterId, NodeId, Settings, TailnetId, UserId
from headscale_saas.tailnet.state import TailnetState

READING_SECONDS = 1.0
COMPILING_SECONDS = 10.0
JOINING_SECONDS = 0.5
MOST_TOLD = 32 << 20
"""Bytes of JSON that one node is sent of its filter and its SSH rules."""
MOST_WORDS = 2000
NODES = 2000


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_past_a_budget_is_refused_at_once(name: str) -> None:
    text = REFUSED[name]()
    began = time.process_time()
    with pytest.raises((Invalid, LimitReached)) as refusal:
        parse(text)
    assert time.process_time() - began < READING_SECONDS
    assert len(str(refusal.value)) < MOST_WORDS


def crowded(text: str) -> TailnetState:
    """A tailnet in which every tenth node is a server, and every other one somebody else's."""
    nodes = [
        make_node(n, tags=("tag:server",) if n % 10 == 0 else (), user_id=UserId(n)) for n in range(1, NODES)
    ]
    owners = tuple(make_user(n, email=f"user{n}@example.com") for n in range(1, NODES + 1))
    state = make_state(*nodes, users=owners)
    return state.replace(state.tailnet, {}, {}, text)


@pytest.mark.slow
@pytest.mark.parametrize("name", ACCEPTABLE)
def test_what_is_accepted_is_carried_out_in_time(name: str) -> None:
    state = crowded(ACCEPTABLE[name]())
    began = time.process_time()
    try:
        check(state.policy_text or "", state)
        compiled = compile_policy(state.policy_text, state)
        server, device = (compiled.audience(state.nodes[NodeId(n)]) for n in (10, 11))
        for kind in (server, device):
            told = len(encode(dict(compiled.filters(kind)))) + len(encode(compiled.ssh_policy(kind)))
            assert told < MOST_TOLD
    except Error:
        assert time.process_time() - began < COMPILING_SECONDS
        return
    assert time.process_time() - began < COMPILING_SECONDS
    began = time.process_time()
    newcomer = make_node(NODES, user_id=UserId(NODES))
    after = state.replace(state.tailnet, {newcomer.id: newcomer}, {}, state.policy_text)
    compiled = advance(compiled, state, after, Touched(nodes=frozenset({newcomer.id})))
    for kind in (server, device):
        compiled.filters(kind)
    assert time.process_time() - began < JOINING_SECONDS


# --- beside others, in a real process ---

CHANGES = 60
"""Of the quiet tailnet, while the loop is watched: some ten seconds."""
LAG_SECONDS = 0.25
"""The aim is 50 ms; beside other tests on the same cores only a stall counts, which is longer."""
TOLD_SECONDS = 60.0
PRESENT, CONNECTED, QUIET = 5000, 12, 6
MARK_PORT = 4242
WORST = (
    "ten_thousand_hosts",
    "ten_thousand_addresses_of_nodes",
    "a_filter_of_megabytes",
    "full_groups",
    "thousands_of_rules_for_each",
    "thousands_of_rules_for_oneself",
    "thousands_of_ssh_rules",
    "thousands_of_via_grants",
)
_BUCKET = re.compile(r'loop_lag_seconds_bucket\{[^}]*le="([^"]+)"[^}]*\} ([\d.e+]+)')


class Lags:
    """How late the event loop of a process was, from its metrics."""

    def __init__(self, process: Served) -> None:
        self._process = process
        self._before: dict[float, float] = {}

    async def begin(self) -> None:
        self._before = await self._counts()

    async def percentile(self, share: float) -> float:
        """Since the beginning: the upper bound of the bucket, in seconds."""
        after = await self._counts()
        seen = {bound: count - self._before.get(bound, 0.0) for bound, count in sorted(after.items())}
        total = max(seen.values())
        return next(bound for bound, count in seen.items() if count >= share * total)

    async def _counts(self) -> dict[float, float]:
        counts: dict[float, float] = defaultdict(float)
        for bound, count in _BUCKET.findall(await self._process.metrics()):
            counts[float(bound)] += float(count)
        return counts


@asynccontextmanager
async def served(directory: Path, dsn: str) -> AsyncIterator[tuple[Served, Database]]:
    process = Served(directory, "house", dsn, workers=1).start()
    try:
        await process.healthy()
        database = await Database.open(dsn, pool_size=2)
        try:
            yield process, database
        finally:
            await database.close()
    finally:
        process.kill()


async def joined(db: Database, site: Site, name: str, count: int) -> tuple[TailnetId, list[Client]]:
    """A new tailnet; its clients are of one user, every other one is a server."""
    made = await tailnets.create_tailnet(
        db, ADMIN, name, ClusterId(1), Settings(base_domain=f"{name}.example")
    )
    user = await users.create_user(db, ADMIN, made.id, "user0", email="user0@example.com")
    keys = [
        await auth_keys.create_auth_key(db, ADMIN, made.id, user=owner, tags=tags, reusable=True)
        for owner, tags in ((user.id, ()), (None, ("tag:server",)))
    ]
    clients = [Client(site, tailnet=name) for _ in range(count)]
    for number, client in enumerate(clients):
        await client.join(keys[number % 2].text, timeout=30)
    return made.id, clients


async def fill(db: Database, tailnet: TailnetId) -> None:
    """Thousands of nodes that are not connected now."""

    async def put(numbers: range, tx: TailnetTx) -> None:
        for n in numbers:
            await put_user(tx, a_user(n, email=f"user{n}@example.com"))
            tags = ("tag:server",) if n % 10 == 0 else ()
            await put_node(tx, a_node(n, tags=tags, user_id=None if tags else UserId(n)))

    for first in range(100, 100 + PRESENT, 500):
        await db.write(tailnet, ADMIN, partial(put, range(first, first + 500)))


async def chatter(clients: Sequence[Client], waits: list[float]) -> None:
    """The quiet tailnet goes about its business; how long each change took to be seen by all."""
    for number in range(1 << 30):
        client = clients[number % len(clients)]
        endpoint = client.mark.endpoint(1 + number % 65535, 2000)
        began = time.monotonic()
        await client.update_endpoints([endpoint])
        for other in clients:
            if other is not client:
                await other.netmap_where(partial(_tells, endpoint), 60)
        waits.append(time.monotonic() - began)
        await asyncio.sleep(0.05)


def _tells(endpoint: str, netmap: ClientNetmap) -> bool:
    return any(peer.endpoints == (endpoint,) for peer in netmap.peers.values())


def marked(text: str, port: int) -> str:
    """With a rule more, that reaches every node, so that each has something to tell of the new policy."""
    policy = json.loads(text)
    policy["acls"].append({"action": "accept", "src": ["user0@example.com"], "dst": [f"*:{port}"]})
    return json.dumps(policy)


async def explode(db: Database, tailnet: TailnetId, name: str, port: int, clients: Sequence[Client]) -> str:
    """Sets the policy; returns what came of it when all clients have it."""
    try:
        await policies.set_policy(db, ADMIN, tailnet, marked(ACCEPTABLE[name](), port))
    except (Invalid, LimitReached) as refusal:
        return f"refused: {refusal}"
    has_port = partial(_lets_in, port)
    await asyncio.gather(*(client.netmap_where(has_port, TOLD_SECONDS) for client in clients))
    return "carried out"


def _lets_in(port: int, netmap: ClientNetmap) -> bool:
    return any(entry.ports.first == port for rule in netmap.packet_filter for entry in rule.dst_ports)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_policy_bomb_delays_nobody_else(tmp_path: Path, database_dsn: str) -> None:
    async with AsyncExitStack() as stack:
        process, db = await stack.enter_async_context(served(tmp_path, database_dsn))
        site = Site(f"http://127.0.0.1:{process.port}")
        loud, noisy = await joined(db, site, "loud", CONNECTED)
        _, calm = await joined(db, site, "quiet", QUIET)
        for client in (*noisy, *calm):
            stack.push_async_callback(client.close)
        await fill(db, loud)
        lags, waits, seen = Lags(process), list[float](), {}

        async def has_talked() -> bool:
            return len(waits) >= CHANGES

        talk = asyncio.create_task(chatter(calm, waits))
        stack.callback(talk.cancel)
        await lags.begin()
        await until(has_talked, within=TOLD_SECONDS)
        quiet = await lags.percentile(0.99)
        for port, name in enumerate(WORST, MARK_PORT):
            waits.clear()
            await lags.begin()
            began = time.monotonic()
            outcome = await explode(db, loud, name, port, noisy)
            took = time.monotonic() - began
            await until(has_talked, within=TOLD_SECONDS)
            seen[name] = await lags.percentile(0.99)
            slowest = max(waits, default=0.0)
            print(f"{name}: {outcome:.80} after {took:.1f} s; lag {seen[name]} s, changes {slowest:.2f} s")
        print(f"quiet: {quiet} s")
        assert {name: lag for name, lag in seen.items() if lag > max(LAG_SECONDS, 2 * quiet)} == {}
        assert process.process.poll() is None
