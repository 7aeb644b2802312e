"""Measures the server on this machine: `python -m bench.run [--only peers,policy,floor…]`.

The server and its database run on the first core, the load on the second (with two workers, on both). The
Markdown goes to stdout, all figures as JSON to `--out`.
"""

import argparse
import dataclasses
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import compiling, floor, goload, many, neighbours, ownload, policed
from bench.goload import Load
from bench.policies import KINDS
from bench.rows import table
from bench.server import serving
from bench.table import markdown, number
from headscale_saas.swarm.report import percentile

SERVER_CORE, LOAD_CORE = 0, 1
PARTS = ("floor", "peers", "workers", "many", "neighbours", "policy", "policed")


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    cores = os.sched_getaffinity(0)
    if {SERVER_CORE, LOAD_CORE} <= cores:
        os.sched_setaffinity(0, {LOAD_CORE})
    else:
        say("Only one core: the load takes its time from the server.")
    results: dict[str, Any] = {"machine": _machine()}
    say(f"Measured on {results['machine']}.\n")
    for part in options.only:
        results[part] = _PARTS_RUN[part](options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, default=_plain, indent=2))


def say(text: str) -> None:
    print(text, flush=True)


def _floor(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    found = {str(n): floor.measure(n, SERVER_CORE, LOAD_CORE) for n in options.clients}
    say(
        "## Floor: CPU of one small message to one of N sockets, in µs (cheapest of many / mean with rests)\n"
    )
    kinds = ("bare", "wire", "frame")
    rows = [
        (n, *(f"{number(costs[kind])} / {number(costs[f'{kind}_rested'])}" for kind in kinds))
        for n, costs in found.items()
    ]
    say(markdown(("N", "encrypt and send", "our records", "with HTTP/2 header"), rows) + "\n")
    return found


def _peers(options: argparse.Namespace) -> list[Load]:
    loads = [_one(options, count, {SERVER_CORE}, 1) for count in options.clients]
    say("## One tailnet, one worker\n")
    say(table(loads, [str(load.clients) for load in loads]) + "\n")
    return loads


def _workers(options: argparse.Namespace) -> list[Load]:
    both, count = {SERVER_CORE, LOAD_CORE}, max(options.clients)
    loads = [_one(options, count, both, workers) for workers in (1, 2)]
    say("## One tailnet, on both cores together with the load: one worker and two (W11)\n")
    say(table(loads, [f"{load.clients}, workers: {n}" for n, load in enumerate(loads, 1)]) + "\n")
    return loads


def _one(options: argparse.Namespace, clients: int, cores: set[int], workers: int) -> Load:
    binary, why = (None, "as asked") if options.own else goload.program()
    with serving(cores, workers=workers) as server:
        key = server.auth_key("bench")
        if binary:
            return goload.run(binary, server, [key], clients, rounds=options.rounds, cores={LOAD_CORE})
        say(f"(Load by our own swarm instead of the official client's code: {why}.)\n")
        return ownload.run(server, (key,), clients, rounds=options.rounds)


def _many(options: argparse.Namespace) -> Load:
    with serving({SERVER_CORE}) as server:
        found = many.run(server, options.tailnets, options.each, {LOAD_CORE})
    say(f"## {options.tailnets:,} tailnets of {options.each}: half of them stand by\n")
    say(table([found], [f"{found.clients:,} of {found.clients + found.standing:,} clients"]) + "\n")
    return found


def _neighbours(options: argparse.Namespace) -> neighbours.Neighbours:
    with serving({SERVER_CORE}) as server:
        found = neighbours.run(server, options.noisy)
    say(f"## Neighbours of a tailnet of {found.clients:,} that reconnects and writes without pause\n")
    names = [field.name for field in dataclasses.fields(neighbours.View)]
    rows = [(name, float(getattr(found.quiet, name)), float(getattr(found.noisy, name))) for name in names]
    say(markdown(("ms", "quiet", "beside it"), rows))
    burst = " / ".join(number(percentile(found.first_joins, share)) for share in (0.5, 1.0))
    say(f"\nJoins into its first burst p50 / max: {burst} ms")
    say(f"\nIt did {found.noise}; isolation violations: {found.violations}\n")
    return found


def _policy(options: argparse.Namespace) -> list[compiling.Cost]:
    names = [field.name for field in dataclasses.fields(compiling.Cost)]
    found = [
        compiling.measure(kind, count, SERVER_CORE) for kind in options.policy for count in options.nodes
    ]
    say("## Policies: what carrying one out costs (CPU; with the filters of all classes)\n")
    rows = [[getattr(cost, name) for name in names] for cost in found]
    say(markdown([name.replace("_", " ") for name in names], rows) + "\n")
    return found


def _policed(options: argparse.Namespace) -> list[policed.Policed]:
    found = []
    for kind, count in [(kind, count) for kind in options.policy for count in options.clients]:
        with serving({SERVER_CORE}) as server:
            crowded = policed.crowd(server, kind, count, {LOAD_CORE})
        with serving({SERVER_CORE}) as server:
            found.append(policed.run(server, kind, count, options.rounds, crowded))
    heads = [f"{one.kind}, {one.load.clients}" for one in found]
    say("## One tailnet under a policy, one worker\n")
    say(table([one.load for one in found], heads) + "\n")
    say("W7, a new policy that changes every filter; ms:\n")
    names = [field.name for field in dataclasses.fields(policed.Reload)]
    rows = [(name, *(getattr(one.reload, name) for one in found)) for name in names]
    say(markdown(("", *heads), [*rows, ("clean", *(one.clean for one in found))]) + "\n")
    return found


_PARTS_RUN: dict[str, Callable[[argparse.Namespace], object]] = {
    "floor": _floor,
    "peers": _peers,
    "workers": _workers,
    "many": _many,
    "neighbours": _neighbours,
    "policy": _policy,
    "policed": _policed,
}


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    system = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} x {model}, {system}, Python {platform.python_version()}"


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(type(value))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.run", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", type=lambda text: _known(text.split(",")), default=list(PARTS))
    parser.add_argument("--clients", type=_numbers, default=[100, 500, 1000])
    parser.add_argument("--nodes", type=_numbers, default=[100, 1000, 5000], help="part policy")
    parser.add_argument(
        "--policy", type=lambda text: text.split(","), default=list(KINDS), help="parts policy, policed"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tailnets", type=int, default=2000)
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument("--noisy", type=int, default=1000)
    parser.add_argument("--own", action="store_true", help="load by our own swarm")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _known(parts: list[str]) -> list[str]:
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(unknown))}")
    return parts


if __name__ == "__main__":
    main()
