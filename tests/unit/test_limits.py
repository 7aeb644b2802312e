"""A test that waits for ever says where, and its loop can be closed."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests import limits


async def for_ever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def a_house() -> AsyncIterator[None]:
    yield
    await for_ever()


async def leaves() -> None:
    async with a_house():
        pass


def test_who_waits_for_ever_is_told_with_what_it_waits_for() -> None:
    with pytest.raises(limits.TooLate, match=r"the test\n.*leaves\n.*\n.*a_house\n.*for_ever"):
        limits.run(leaves(), 0.05)


def test_what_a_test_leaves_behind_ends_though_it_misses_a_cancellation() -> None:
    async def deaf() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await for_ever()

    async def test() -> None:
        left = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        assert not left.done()

    limits.run(test(), 5)


def test_what_never_ends_is_told_and_does_not_keep_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENDING_SECONDS", 0.5)
    may_end = False

    async def deaf() -> None:
        while not may_end:
            try:
                await for_ever()
            except asyncio.CancelledError:
                continue

    async def test() -> None:
        asyncio.create_task(deaf(), name="the deaf one")  # noqa: RUF006
        await asyncio.sleep(0)

    with pytest.raises(limits.TooLate, match=r"the deaf one\n.*deaf\n.*for_ever"):
        limits.run(test(), 5)
    may_end = True
    gc.collect()  # what an open loop has to say, it says here


def test_what_the_test_raises_comes_through() -> None:
    async def test() -> None:
        pytest.skip("no reason")

    with pytest.raises(pytest.skip.Exception, match="no reason"):
        limits.run(test(), 5)


async def leak() -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))


def test_what_is_left_open_is_told_and_the_loop_is_closed() -> None:
    with pytest.raises(limits.LeftOpen, match="unclosed"):
        limits.run(leak(), 5)


def test_what_is_left_open_does_not_hide_why_a_test_failed() -> None:
    async def test() -> None:
        await leak()
        pytest.fail("this is why")

    with pytest.raises(pytest.fail.Exception, match="this is why"):
        limits.run(test(), 5)
