"""A large tailnet is read in many turns of the loop, between which others have theirs."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.store_world import ADMIN, a_node, new_tailnet, process, put_node

from headscale_saas.store import changelog, nodes
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Node

MANY = 10 * changelog.READ_AT_ONCE


@asynccontextmanager
async def counting(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counter[int]]:
    """How many nodes are read in each turn of the loop."""
    turn, read, known = 0, Counter[int](), nodes.from_record

    def noted(row: Any) -> Node:
        read[turn] += 1
        return known(row)

    async def turns() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    monkeypatch.setattr(nodes, "from_record", noted)
    task = asyncio.create_task(turns())
    yield read
    task.cancel()


async def test_whether_loaded_whole_or_caught_up(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "large")

        async def put(tx: TailnetTx, first: int, **changes: Any) -> None:
            for number in range(first, MANY + 1):
                await put_node(tx, a_node(number, **changes))

        await database.write(tailnet, ADMIN, lambda tx: put(tx, 1))
        async with counting(monkeypatch) as read:
            async with database.feed([tailnet]) as feed:
                state = await changelog.load(feed, tailnet)
            assert read.total() == len(state.nodes) == MANY
            assert max(read.values()) <= changelog.READ_AT_ONCE
            read.clear()
            await database.write(tailnet, ADMIN, lambda tx: put(tx, MANY // 2 + 1, hostname="other"))
            async with database.feed([tailnet]) as feed:
                moved = await changelog.catch_up(feed, state)
            assert moved is not None
            assert read.total() == len(moved.touched.nodes) == MANY // 2
            assert max(read.values()) <= changelog.READ_AT_ONCE
