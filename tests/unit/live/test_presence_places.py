"""Where many tailnets come back at once, few are reported at a time, and the others gather."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from tests.waiting import until

from headscale_saas.live import presence as module
from headscale_saas.live.presence import REPORTS_AT_ONCE, Presence
from headscale_saas.tailnet.model import NodeId, ProcessNumber, TailnetId


class Admitted(NamedTuple):
    token: int
    previous: ProcessNumber | None


class Answers:
    """A database that admits everybody, when it is let."""

    def __init__(self) -> None:
        self.lets = asyncio.Event()
        self.asked: list[tuple[TailnetId, list[NodeId]]] = []
        self.presence = Presence(self.admit, self.end, lambda _: None)

    async def admit(self, tailnet: TailnetId, nodes: Sequence[NodeId]) -> Mapping[NodeId, Admitted]:
        self.asked.append((tailnet, sorted(nodes)))
        await self.lets.wait()
        return {node: Admitted(1, None) for node in nodes}

    async def end(self, tailnet: TailnetId, tokens: Mapping[NodeId, int]) -> None:
        raise AssertionError("nobody left")

    def come(self, tailnets: range, node: int) -> None:
        for tailnet in tailnets:
            self.presence.started(TailnetId(tailnet), NodeId(node), lambda: None)


@asynccontextmanager
async def answers() -> AsyncIterator[Answers]:
    made = Answers()
    task = asyncio.create_task(made.presence.run())
    try:
        yield made
    finally:
        task.cancel()


async def test_who_comes_while_its_tailnet_waits_is_reported_with_the_others() -> None:
    tailnets = range(1, 10 * REPORTS_AT_ONCE + 1)
    async with answers() as world:
        world.come(tailnets, 1)
        await until(lambda: len(world.asked) == REPORTS_AT_ONCE)
        world.come(tailnets, 2)
        world.lets.set()
        await until(lambda: sum(len(nodes) for _, nodes in world.asked) == 2 * len(tailnets))
        first = {tailnet for tailnet, nodes in world.asked[:REPORTS_AT_ONCE] if nodes == [1]}
        assert len(first) == REPORTS_AT_ONCE
        together = [tailnet for tailnet, nodes in world.asked if nodes == [1, 2]]
        assert sorted(together) == sorted(set(tailnets) - first)


async def test_tailnets_whose_reports_take_long_keep_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PLACE_SECONDS", 0.01)
    tailnets = range(1, 3 * REPORTS_AT_ONCE + 1)
    async with answers() as world:
        world.come(tailnets, 1)
        await until(lambda: len(world.asked) == len(tailnets))
        world.lets.set()
        await until(lambda: not world.presence._busy)
        assert world.presence._places._value == REPORTS_AT_ONCE, "no place is given back twice"


async def test_at_the_end_all_are_reported_side_by_side() -> None:
    made = Answers()
    made.come(range(1, 20), 1)
    made.lets.set()
    await made.presence.flush(5)
    assert len(made.asked) == 19
