"""Whole netmaps outside a long poll: one at a time for each node, and none is left over."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping

import pytest
from tests.waiting import until

from headscale_saas.control.fetches import Fetches
from headscale_saas.errors import LimitReached
from headscale_saas.tailnet.model import NodeId, TailnetId

HOME, NODE = TailnetId(1), NodeId(1)


class Turns:
    """A queue that works when it is told to."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()

    def submit(self, key: Hashable, work: Callable[[], None] | Iterator[None]) -> None:
        assert callable(work)
        self.waiting.append(work)

    async def one(self) -> None:
        await until(lambda: self.waiting)
        self.waiting.popleft()()


class Slow:
    """A stream whose client takes what is written when `take` is called."""

    def __init__(self) -> None:
        self.on_close: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.closed = False
        self.writable = True
        self.said = b""

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        assert status == 200

    def write(self, data: bytes) -> bool:
        self.said += data
        return True

    def end(self) -> None:
        self.closed = True

    def respond(self, status: int, body: bytes = b"", content_type: str | None = None) -> None:
        raise AssertionError

    def take(self) -> None:
        assert self.on_close is not None
        self.on_close()


async def test_the_next_one_comes_a_while_after_the_one_before_is_taken() -> None:
    turns, stream = Turns(), Slow()
    fetches = Fetches(turns, pause=0.01)
    first = asyncio.create_task(fetches.answer(HOME, NODE, stream, lambda: b"all"))
    await asyncio.sleep(0)
    for _ in range(100):
        with pytest.raises(LimitReached):
            await fetches.answer(HOME, NODE, Slow(), lambda: b"all")
    await turns.one()
    await first
    assert stream.said == b"all"
    with pytest.raises(LimitReached):
        await fetches.answer(HOME, NODE, Slow(), lambda: b"all")
    assert not turns.waiting
    other = asyncio.create_task(fetches.answer(HOME, NodeId(2), Slow(), lambda: b"all"))
    await turns.one()
    await other
    stream.take()
    with pytest.raises(LimitReached):
        await fetches.answer(HOME, NODE, Slow(), lambda: b"all")
    await until(lambda: len(fetches) == 1)
    again = asyncio.create_task(fetches.answer(HOME, NODE, Slow(), lambda: b"all"))
    await turns.one()
    await again


async def test_nothing_is_made_for_a_client_that_left() -> None:
    turns = Turns()
    fetches = Fetches(turns)
    task = asyncio.create_task(fetches.answer(HOME, NODE, Slow(), lambda: pytest.fail("made")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await turns.one()
    assert len(fetches) == 0


async def test_a_netmap_that_cannot_be_made_is_the_requests_own_failure() -> None:
    turns = Turns()
    fetches = Fetches(turns)
    task = asyncio.create_task(fetches.answer(HOME, NODE, Slow(), lambda: bytes(1 // 0)))
    await turns.one()
    with pytest.raises(ZeroDivisionError):
        await task
    assert len(fetches) == 0
