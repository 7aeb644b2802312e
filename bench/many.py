"""Many small tailnets: what a client weighs, what a change costs, how long a storm of half of them lasts.

One half stands by: it joins first and then keeps its polls open. The other half is what is measured.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvloop

from bench import goload
from bench.goload import Load
from bench.server import Server, pinned
from bench.tailnets import auth_keys
from headscale_saas.swarm.crowd import raise_file_limit

ROUNDS = 100
GAP_SECONDS = 0.1
STAY = "60m"


def run(server: Server, tailnets: int, each: int, cores: set[int]) -> Load:
    """Raises RuntimeError without the Go program: our own swarm would be what is measured."""
    binary, why = goload.program()
    if binary is None:
        raise RuntimeError(f"many tailnets need goswarm: {why}")
    raise_file_limit()
    keys = uvloop.run(auth_keys(server, "many", tailnets))
    half, before = tailnets // 2, server.usage()
    stay = _stay(binary, server, keys[:half], half * each, cores)
    try:
        load = goload.run(
            binary,
            server,
            keys[half:],
            (tailnets - half) * each,
            rounds=ROUNDS,
            cores=cores,
            gap_seconds=GAP_SECONDS,
        )
    finally:
        stay.kill()
        stay.wait()
    return replace(load, standing=half * each, before=before)


def _stay(
    binary: Path, server: Server, keys: Sequence[str], clients: int, cores: set[int]
) -> "subprocess.Popen[str]":
    """Returns when all have joined."""
    command = [str(binary), "-url", server.other_url, "-key", ",".join(keys), "-n", str(clients)]
    command += ["-phases", "W1,W6", "-idle", STAY]
    process = subprocess.Popen(
        pinned(command, cores), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    if not any(line.startswith("W1 ") for line in process.stdout):
        raise RuntimeError("goswarm failed")
    return process
