"""The fair queue, in steps and in time."""

import asyncio
import gc
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from tests.waiting import until

from headscale_saas.transport.fair import FairQueue


class Clock:
    """Time that passes only when work says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spends(self, seconds: float, then: Callable[[], None]) -> Callable[[], None]:
        def work() -> None:
            self.now += seconds
            then()

        return work


async def test_lanes_take_turns_and_so_does_the_work_in_one() -> None:
    clock, order = Clock(), list[str]()
    queue = FairQueue(asyncio.get_running_loop(), slice_seconds=0.005, clock=clock)

    def steps(name: str, count: int) -> Iterator[None]:
        for index in range(count):
            order.append(f"{name}{index}")
            clock.now += 0.003
            yield

    queue.submit("a", steps("a", 3))
    queue.submit("a", lambda: order.append("a-last"))
    queue.submit("b", steps("b", 2))
    assert len(queue) == 3
    await until(lambda: not queue)
    assert order == ["a0", "b0", "a-last", "a1", "b1", "a2"]


async def test_a_turn_is_long_enough_for_many_small_steps() -> None:
    clock, order = Clock(), list[str]()
    queue = FairQueue(asyncio.get_running_loop(), slice_seconds=0.005, clock=clock)
    for lane in "ab":
        for _ in range(4):
            queue.submit(lane, clock.spends(0.001, lambda lane=lane: order.append(lane)))  # type: ignore[misc]
    await until(lambda: not queue)
    assert "".join(order) == "aaabbbab"


async def test_in_a_long_lane_the_newest_and_the_oldest_take_turns() -> None:
    queue, order = FairQueue(asyncio.get_running_loop(), patience=2), list[int]()
    for number in range(5):
        queue.submit("strangers", lambda number=number: order.append(number))  # type: ignore[misc]
    await until(lambda: not queue)
    assert order == [4, 0, 3, 1, 2]


async def test_a_share_is_kept_only_while_others_wait() -> None:
    clock, others = Clock(), [True]
    pauses: list[float] = []

    class Loop(asyncio.SelectorEventLoop):
        def call_later(self, delay: float, callback: Callable[[], None], *args: object) -> None:  # type: ignore[override]
            pauses.append(delay)
            clock.now += delay
            loop.call_soon(callback)

    loop = asyncio.get_running_loop()
    slow = Loop()
    slow.call_soon = loop.call_soon  # type: ignore[method-assign]
    queue = FairQueue(slow, slice_seconds=0, share=0.25, others_wait=lambda: others[0], clock=clock)
    for _ in range(2):
        queue.submit("x", clock.spends(0.001, lambda: None))
    await until(lambda: not queue)
    assert pauses == [pytest.approx(0.003)]
    others[0] = False
    for _ in range(2):
        queue.submit("x", clock.spends(0.001, lambda: None))
    await until(lambda: not queue)
    slow.close()
    assert len(pauses) == 2  # of the time before only


async def test_a_slice_ends_after_its_time() -> None:
    clock = Clock()
    done: list[int] = []
    turns: list[None] = []
    loop = asyncio.get_running_loop()
    queue = FairQueue(loop, slice_seconds=0.005, clock=clock)
    for index in range(6):
        queue.submit(index, clock.spends(0.002, lambda: done.append(len(turns))))

    def turn() -> None:
        turns.append(None)
        if len(queue):
            loop.call_soon(turn)

    loop.call_soon(turn)
    await until(lambda: not len(queue))
    assert [done.count(number) for number in sorted(set(done))] == [3, 3]


async def test_without_a_slice_one_step_runs_in_each_turn() -> None:
    queue, ran = FairQueue(asyncio.get_running_loop(), slice_seconds=0), []
    for index in range(3):
        queue.submit("key", lambda index=index: ran.append(index))  # type: ignore[misc]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(ran) <= 2
    await until(lambda: ran == [0, 1, 2])


async def test_a_share_leaves_the_rest_of_the_time() -> None:
    queue, started = FairQueue(asyncio.get_running_loop(), share=0.25), time.monotonic()
    busy = 0.0

    def burn() -> None:
        nonlocal busy
        start = time.thread_time()
        while time.thread_time() - start < 0.002:
            pass
        busy += time.thread_time() - start

    for index in range(20):
        queue.submit(index, burn)
    await until(lambda: not len(queue))
    assert busy / (time.monotonic() - started) < 0.4


async def test_failing_work_does_not_stop_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    queue, ran = FairQueue(asyncio.get_running_loop()), []

    def fail() -> None:
        raise RuntimeError("broken")

    queue.submit("a", fail)
    queue.submit("a", lambda: ran.append(1))
    await until(lambda: ran)
    assert "queued work failed" in caplog.text


async def test_work_may_submit_for_its_own_key() -> None:
    queue, order = FairQueue(asyncio.get_running_loop()), []

    def first() -> None:
        queue.submit("a", lambda: order.append("third"))
        order.append("first")

    queue.submit("a", first)
    queue.submit("a", lambda: order.append("second"))
    await until(lambda: len(order) == 3)
    assert order == ["first", "second", "third"]


@pytest.fixture
def _little_garbage() -> Iterator[None]:
    """What other tests left in memory is not looked through meanwhile."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.slow
@pytest.mark.usefixtures("_little_garbage")
async def test_a_thousand_readable_sockets_do_not_delay_a_timer() -> None:
    """Each has 5 ms of work; handled where they are received, they would hold the loop for 5 s."""
    loop = asyncio.get_running_loop()
    queue = FairQueue(loop)
    handled: list[int] = []
    gaps: list[float] = []

    def handle(number: int) -> None:
        end = time.thread_time() + 0.005
        while time.thread_time() < end and len(handled) < 300:  # the rest is free, to be done sooner
            pass
        handled.append(number)

    def receive(number: int) -> None:
        pairs[number][0].recv(1)
        queue.submit(number, lambda: handle(number))

    pairs = [socket.socketpair() for _ in range(1000)]
    for number, (ours, theirs) in enumerate(pairs):
        loop.add_reader(ours, receive, number)
        theirs.send(b"x")
    while len(handled) < 1000:
        start = time.thread_time()  # what this loop spent, whatever else the machine is doing
        await asyncio.sleep(0.02)
        gaps.append(time.thread_time() - start - 0.02)
    for ours, theirs in pairs:
        loop.remove_reader(ours)
        ours.close()
        theirs.close()
    assert max(gaps) < 0.05
