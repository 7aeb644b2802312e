"""Whole netmaps outside a long poll: one at a time for each node, in turns, and none is left over."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping

import pytest
from tests.waiting import until

from headscale_saas.control.fetches import Fetches, Steps
from headscale_saas.errors import LimitReached
from headscale_saas.tailnet.model import NodeId, TailnetId

HOME, NODE = TailnetId(1), NodeId(1)


class Turns:
    """A queue that works when it is told to."""

    def __init__(self) -> None:
        self.waiting: deque[Iterator[None]] = deque()

    def submit(self, key: Hashable, work: Callable[[], None] | Iterator[None]) -> None:
        assert not callable(work)
        self.waiting.append(work)

    async def one(self) -> int:
        """Does a work to its end, and says in how many steps."""
        await until(lambda: self.waiting)
        return sum(1 for _ in self.waiting.popleft())


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


def steps(count: int = 0) -> Steps:
    for _ in range(count):
        yield
    return b"all"


def failing() -> Steps:
    yield
    raise ZeroDivisionError


async def test_the_next_one_comes_a_while_after_the_one_before_is_taken() -> None:
    turns, stream = Turns(), Slow()
    fetches = Fetches(turns, pause=0.01)
    first = asyncio.create_task(fetches.answer(HOME, NODE, stream, steps()))
    await asyncio.sleep(0)
    for _ in range(100):
        with pytest.raises(LimitReached):
            await fetches.answer(HOME, NODE, Slow(), steps())
    await turns.one()
    await first
    assert stream.said == b"all"
    with pytest.raises(LimitReached):
        await fetches.answer(HOME, NODE, Slow(), steps())
    assert not turns.waiting
    other = asyncio.create_task(fetches.answer(HOME, NodeId(2), Slow(), steps()))
    await turns.one()
    await other
    stream.take()
    with pytest.raises(LimitReached):
        await fetches.answer(HOME, NODE, Slow(), steps())
    await until(lambda: len(fetches) == 1)
    again = asyncio.create_task(fetches.answer(HOME, NODE, Slow(), steps()))
    await turns.one()
    await again


async def test_one_is_made_step_by_step() -> None:
    turns, stream = Turns(), Slow()
    task = asyncio.create_task(Fetches(turns).answer(HOME, NODE, stream, steps(3)))
    assert await turns.one() == 3
    await task
    assert stream.said == b"all"


@pytest.mark.parametrize("done", [0, 2])
async def test_nothing_is_made_for_a_client_that_left(done: int) -> None:
    turns = Turns()
    fetches = Fetches(turns)
    task = asyncio.create_task(fetches.answer(HOME, NODE, Slow(), steps(5)))
    await until(lambda: turns.waiting)
    for _ in range(done):
        next(turns.waiting[0])
    task.cancel()
    await asyncio.wait([task])
    assert await turns.one() == 0
    assert len(fetches) == 0


async def test_a_netmap_that_cannot_be_made_is_the_requests_own_failure() -> None:
    turns = Turns()
    fetches = Fetches(turns)
    task = asyncio.create_task(fetches.answer(HOME, NODE, Slow(), failing()))
    await turns.one()
    with pytest.raises(ZeroDivisionError):
        await task
    assert len(fetches) == 0
