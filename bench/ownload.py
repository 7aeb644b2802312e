"""The same workloads by our own swarm, and what it adds: many tailnets, several at once."""

import os
from collections.abc import Coroutine

import uvloop

from bench.goload import Load, Meter
from bench.server import Server
from headscale_saas.swarm.crowd import Crowd
from headscale_saas.swarm.plan import Plan
from headscale_saas.swarm.report import Phase, percentile

NAMES = {"join": "W1", "idle": "W6", "visible": "W2", "endpoint": "W3", "storm": "W4"}


def run(server: Server, keys: tuple[str, ...], clients: int, *, rounds: int, concurrency: int = 16) -> Load:
    """All phases with that many clients in as many tailnets as there are keys."""
    return uvloop.run(_run(server, keys, clients, rounds, concurrency))


async def _run(server: Server, keys: tuple[str, ...], clients: int, rounds: int, concurrency: int) -> Load:
    plan = Plan(server.url, keys, clients=clients, rounds=rounds, concurrency=concurrency, pause_seconds=0.5)
    crowd = Crowd(plan)
    load = Load(clients, server.usage(), rounds, "our own swarm")
    meter = Meter(server, os.getpid())
    for step in (crowd.join, crowd.idle, crowd.visible, crowd.endpoint, crowd.storm):
        await measured(step(), crowd, load, meter)
    report = await crowd.finish()
    load.lines += report.verdict()
    return load


async def measured(step: Coroutine[None, None, None], crowd: Crowd, load: Load, meter: Meter) -> Phase:
    """Runs one phase until all is quiet again, and notes what it cost."""
    await step
    phase = crowd.report.phases[-1]
    await crowd.settle()
    load.phases[NAMES[phase.name]] = meter.phase(figures(phase))
    load.lines.append(str(phase.summary()))
    return phase


def figures(phase: Phase) -> dict[str, float]:
    """Under the names that the Go program prints."""
    return {
        "failed": phase.missing,
        "missing": phase.missing,
        "wall": phase.seconds,
        "rate": phase.rate,
        "p50": percentile(phase.waits, 0.5),
        "p99": percentile(phase.waits, 0.99),
        "max": percentile(phase.waits, 1.0),
        "bytes/client": sum(phase.sizes) / len(phase.sizes) if phase.sizes else float("nan"),
    }
