"""What a policy costs the process that carries it out: compiling, one more node, memory. No server is needed.

    python -m bench.compiling KIND NODES

prints one measurement as JSON; `measure` runs that in a process of its own, on a core of its own.
"""

import dataclasses
import gc
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from statistics import median
from typing import TypeVar

from msgspec.structs import replace

from bench.policies import Scene, node_of, scene
from bench.server import pinned
from headscale_saas.policy import Audience, Compiled, advance, changed_chunks, compile_policy
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.state import TailnetState

JOINS = 30
COLD_RUNS = 3

T = TypeVar("T")


@dataclasses.dataclass
class Cost:
    """Milliseconds (`report` in microseconds), KiB. `classes` are kinds of nodes, each with its own filter.

    `cold_ms` is everything from the text on with the filters of all classes, `join_ms` the same of all that
    changes when a node joins; `tell_ms` is finding and encoding what all classes must be told of their
    filters then, `told_kib` how much that is. `filter_kib` is the largest filter as JSON.
    """

    kind: str
    nodes: int
    classes: int = 0
    cold_ms: float = 0.0
    of_it_text_ms: float = 0.0
    join_ms: float = 0.0
    leave_ms: float = 0.0
    tell_ms: float = 0.0
    report_us: float = 0.0
    memory_kib: float = 0.0
    filter_kib: float = 0.0
    told_kib: float = 0.0


def measure(kind: str, nodes: int, core: int) -> Cost:
    command = pinned([sys.executable, "-m", "bench.compiling", kind, str(nodes)], {core})
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return Cost(**json.loads(done.stdout))


def _main(kind: str, nodes: int) -> Cost:
    made = scene(kind, nodes, most_users=nodes)
    state, cost = made.state(), Cost(kind, nodes)
    gc.disable()
    empty = TailnetState(state.tailnet, {}, {}, state.policy_text)
    cost.cold_ms = min(_timed(partial(_complete, one))[0] for one in _unknown(state))
    cost.of_it_text_ms = min(_timed(partial(_complete, one))[0] for one in _unknown(empty))
    compiled = _complete(state)
    kinds = _kinds(compiled, state.nodes.values())
    cost.classes = len(kinds)
    cost.filter_kib = max(len(encode(dict(compiled.filters(kind)))) for kind in kinds) / 1024
    _changes(made, state, compiled, kinds, cost)
    cost.memory_kib = _memory(state)
    return cost


def _unknown(state: TailnetState) -> Iterator[TailnetState]:
    """With texts that nobody has compiled yet."""
    for spaces in range(1, COLD_RUNS + 1):
        text = state.policy_text and state.policy_text + " " * (spaces + len(state.nodes))
        yield state.replace(state.tailnet, {}, {}, text)


def _complete(state: TailnetState) -> Compiled:
    """Everything, from the text on."""
    compiled = compile_policy(state.policy_text, state)
    for kind in _kinds(compiled, state.nodes.values()):
        len(compiled.filters(kind))
    return compiled


def _kinds(compiled: Compiled, nodes: Iterable[Node]) -> set[Audience]:
    return {compiled.audience(node) for node in nodes}


def _changes(made: Scene, state: TailnetState, compiled: Compiled, kinds: set[Audience], cost: Cost) -> None:
    """Nodes join one after the other; the last one reports an endpoint; then they leave."""
    joins, leaves, reports, tellings, told = [], [], [], [], []
    for number in range(len(state.nodes) + 1, len(state.nodes) + 1 + JOINS):
        node = node_of(number, made.owner_of(number - 1))
        before = compiled
        spent, (state, compiled) = _step(state, compiled, {node.id: node}, kinds)
        joins.append(spent)
        spent, size = _timed(partial(_differences, before, compiled, kinds))
        tellings.append(spent)
        told.append(size)
        spent, _ = _step(state, compiled, {node.id: replace(node, endpoints=("203.0.113.1:1",))}, set())
        reports.append(spent * 1000)
    for number in range(len(state.nodes), len(state.nodes) - JOINS, -1):
        spent, (state, compiled) = _step(state, compiled, {NodeId(number): None}, kinds)
        leaves.append(spent)
    cost.join_ms, cost.leave_ms = median(joins), median(leaves)
    cost.report_us, cost.tell_ms, cost.told_kib = median(reports), median(tellings), median(told) / 1024


def _differences(before: Compiled, after: Compiled, kinds: set[Audience]) -> int:
    return sum(_difference(before, after, kind) for kind in kinds)


def _step(
    state: TailnetState, compiled: Compiled, rows: dict[NodeId, Node | None], kinds: set[Audience]
) -> tuple[float, tuple[TailnetState, Compiled]]:
    after = state.replace(state.tailnet, rows, {}, state.policy_text)
    touched = Touched(nodes=frozenset(rows))

    def follow() -> Compiled:
        new = advance(compiled, state, after, touched)
        for kind in kinds | _kinds(new, [node for node in rows.values() if node is not None and kinds]):
            new.filters(kind)
        return new

    spent, new = _timed(follow)
    return spent, (after, new)


def _difference(before: Compiled, after: Compiled, kind: Audience) -> int:
    """Bytes that viewers of a class must be sent of their filter."""
    changes = changed_chunks(before.filters(kind), after.filters(kind))
    return len(encode(changes)) if changes else 0


def _memory(state: TailnetState) -> float:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    compiled = _complete(state)
    gc.collect()
    kib = (tracemalloc.get_traced_memory()[0] - before) / 1024
    tracemalloc.stop()
    del compiled
    return kib


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds of CPU, and what came of it."""
    gc.collect()
    before = time.process_time()
    result = work()
    return (time.process_time() - before) * 1000, result


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(_main(sys.argv[1], int(sys.argv[2])))))
