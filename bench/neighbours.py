"""What a tailnet that misbehaves costs the others: their joins and changes, quiet and beside it (W10)."""

import asyncio
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass

import uvloop

from bench.server import Server
from bench.tailnets import auth_keys
from headscale_saas.swarm.crowd import Crowd, raise_file_limit
from headscale_saas.swarm.plan import Plan
from headscale_saas.swarm.report import Phase, percentile

TAILNETS, EACH = 50, 20
JOINS, CHANGES = 300, 200
FIRST_JOINS = 20
"""While all of the noisy tailnet dials at the same moment; after that each client has a pace of its own."""
LOOK_SECONDS = 60
LONGEST_SECONDS = 600
_BUCKET = re.compile(r'loop_lag_seconds_bucket\{[^}]*le="([^"]+)"[^}]*\} ([\d.e+]+)')


@dataclass
class View:
    """Milliseconds, as the well-behaved tailnets saw it; the event loop's lag as the server says."""

    join_p50: float
    join_p99: float
    change_p50: float
    change_p99: float
    missing: int
    """What was not seen within its limit: a minute for all joins, another for all changes."""
    lag_p99: float


@dataclass
class Neighbours:
    clients: int
    quiet: View
    first_joins: list[float]
    """Milliseconds of those that fell into the first burst."""
    noisy: View
    noise: dict[str, int]
    violations: int


def run(server: Server, noisy_clients: int) -> Neighbours:
    raise_file_limit()
    return uvloop.run(_run(server, noisy_clients))


async def _run(server: Server, noisy_clients: int) -> Neighbours:
    keys = await auth_keys(server, "calm", TAILNETS)
    (noisy_key,) = await auth_keys(server, "noisy", 1)
    plan = Plan(
        server.url,
        keys,
        clients=TAILNETS * EACH,
        rounds=CHANGES,
        concurrency=4,
        pause_seconds=0.02,
        limit_seconds=10,
    )
    crowd = Crowd(plan)
    await crowd.join()
    await crowd.settle()
    quiet = await _look(crowd, server)
    with _noise(server, noisy_key, noisy_clients) as noise:
        assert noise.stdout
        await asyncio.to_thread(noise.stdout.readline)  # "ready"
        first = await _bounded(crowd, crowd.join(FIRST_JOINS))
        noisy = await _look(crowd, server)
        noise.terminate()
        rest = noise.stdout.read()
    report = await crowd.finish()
    done = json.loads(rest) if rest.startswith("{") else {}
    return Neighbours(noisy_clients, quiet, sorted(first.waits), noisy, done, report.violation_count)


async def _look(crowd: Crowd, server: Server) -> View:
    before = _lags(server.metrics())
    join = await _bounded(crowd, crowd.join(JOINS))
    change = await _bounded(crowd, crowd.endpoint())
    lag = lag_percentile(before, _lags(server.metrics()), 0.99)
    return View(
        percentile(join.waits, 0.5),
        percentile(join.waits, 0.99),
        percentile(change.waits, 0.5),
        percentile(change.waits, 0.99),
        join.missing + change.missing,
        lag * 1000,
    )


async def _bounded(crowd: Crowd, step: Coroutine[None, None, None]) -> Phase:
    """What was seen within a minute; the rest counts as missing."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_SECONDS):
            await step
    phase = crowd.report.phases[-1]
    phase.missing += phase.total - phase.done
    return phase


def _noise(server: Server, key: str, clients: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench.noise", server.url, key, str(clients), str(LONGEST_SECONDS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _lags(metrics: str) -> dict[float, float]:
    """Observations up to each bound, of all workers together."""
    counts: dict[float, float] = defaultdict(float)
    for bound, count in _BUCKET.findall(metrics):
        counts[float(bound)] += float(count)
    return counts


def lag_percentile(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """Seconds; the upper bound of the bucket it lies in. NaN if nothing was observed."""
    seen = {bound: after[bound] - before.get(bound, 0.0) for bound in sorted(after)}
    total = max(seen.values(), default=0.0)
    return next((bound for bound, count in seen.items() if total and count >= share * total), float("nan"))
