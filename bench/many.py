"""Many small tailnets: what a client weighs, what a change costs, how long a storm of all lasts."""

import os
from dataclasses import dataclass

import uvloop

from bench.goload import Load, Meter
from bench.ownload import measured
from bench.server import Server
from bench.tailnets import auth_keys
from headscale_saas.swarm.crowd import Crowd, raise_file_limit
from headscale_saas.swarm.plan import Plan

CHANGES = 200


@dataclass
class Many:
    tailnets: int
    clients: int
    load: Load
    clean: bool


def run(server: Server, tailnets: int, each: int) -> Many:
    raise_file_limit()
    return uvloop.run(_run(server, tailnets, each))


async def _run(server: Server, tailnets: int, each: int) -> Many:
    keys = await auth_keys(server, "many", tailnets)
    plan = Plan(
        server.url,
        keys,
        clients=tailnets * each,
        rounds=CHANGES,
        concurrency=32,
        pause_seconds=0.01,
        limit_seconds=300,
    )
    crowd = Crowd(plan)
    load = Load(plan.clients, server.usage(), CHANGES, "our own swarm")
    meter = Meter(server, os.getpid())
    for step in (crowd.join, crowd.idle, crowd.endpoint, crowd.storm):
        await measured(step(), crowd, load, meter)
    report = await crowd.finish()
    load.lines += report.verdict()
    return Many(tailnets, plan.clients, load, report.is_clean)
