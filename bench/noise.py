"""A tailnet that misbehaves: its clients reconnect in a loop and report new endpoints as fast as they can.

    python -m bench.noise URL KEY CLIENTS SECONDS

Prints `ready` when all have joined, and at the end how much it did. It runs at a low priority, so that on the
core of the load it is the one that waits.
"""

import asyncio
import itertools
import json
import os
import signal
import sys
from contextlib import suppress

import uvloop

from headscale_saas.errors import Error
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.crowd import Crowd, raise_file_limit
from headscale_saas.swarm.plan import Plan

WRITERS = 32
NICENESS = 15
LABEL = "noise"


async def main(url: str, key: str, clients: int, seconds: float) -> None:
    raise_file_limit()
    crowd = Crowd(Plan(url, (key,), clients=clients, decode=0.0, concurrency=32, label=LABEL))
    await crowd.join()
    print("ready", flush=True)
    done = {"writes": 0, "returns": 0}
    tasks = [asyncio.create_task(_write(crowd, number, done)) for number in range(WRITERS)]
    tasks += [asyncio.create_task(_return(client, done)) for client in crowd.clients]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(done), flush=True)


async def _write(crowd: Crowd, number: int, done: dict[str, int]) -> None:
    for port in itertools.count(1024):
        client = crowd.clients[(number + port * WRITERS) % len(crowd.clients)]
        try:
            await client.update_endpoints([client.mark.endpoint(1 + client.number, port % 60_000 + 1024)])
            done["writes"] += 1
        except (Error, OSError):
            await asyncio.sleep(0.01)


async def _return(client: Client, done: dict[str, int]) -> None:
    while True:
        try:
            await client.reconnect(120)
            done["returns"] += 1
        except (Error, OSError, TimeoutError):
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    os.nice(NICENESS)
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
