"""Policies that are compiled beside the loop, while the tailnet moves on."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from headscale_saas.errors import Unavailable
from headscale_saas.live.compiling import SMALL_TEXT, Compiling
from headscale_saas.policy import Compiled, compile_whole
from headscale_saas.policy.resolution import Resolution
from headscale_saas.tailnet.model import TailnetId
from headscale_saas.tailnet.state import TailnetState
from tailnets import make_node, make_state

TEXT = '{"acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["*:22"]}]}'
LARGE = TEXT + " " * SMALL_TEXT
TAILNET, ANOTHER, THIRD = TailnetId(1), TailnetId(2), TailnetId(3)


def state_of(*numbers: int, comment: str = "") -> TailnetState:
    state = make_state(*map(make_node, numbers))
    return TailnetState(state.tailnet, state.nodes, state.users, f"{LARGE}// {comment}\n")


class Costly:
    """Stands for policies that take as long as the test likes: each is compiled when it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._gates: dict[str, Future[None]] = {}

    def __call__(self, text: str | None, state: TailnetState) -> Compiled:
        comment = (text or "").rpartition("// ")[2].strip()
        self._loop.call_soon_threadsafe(self._begin, comment)
        self.gate(comment).result(timeout=30)
        return compile_whole(text, state)

    def gate(self, comment: str) -> Future[None]:
        return self._gates.setdefault(comment, Future())

    async def until_begun(self, comment: str) -> None:
        async with asyncio.timeout(30):
            while comment not in self.begun:
                self.news.clear()
                await self.news.wait()

    async def finish(self, comment: str) -> None:
        await self.until_begun(comment)
        self.gate(comment).set_result(None)

    def _begin(self, comment: str) -> None:
        self.begun.append(comment)
        self.news.set()


class Ready:
    """Hears who is ready."""

    def __init__(self, compiling: Compiling) -> None:
        self._told: asyncio.Queue[TailnetId] = asyncio.Queue()
        compiling.ready = self._told.put_nowait

    async def next(self) -> TailnetId:
        async with asyncio.timeout(30):
            return await self._told.get()


@contextmanager
def compiling_costly() -> Iterator[tuple[Compiling, Costly, Ready]]:
    costly = Costly()
    compiling = Compiling(costly)
    try:
        yield compiling, costly, Ready(compiling)
    finally:
        compiling.close()


async def test_a_policy_that_is_ready_holds_for_whoever_joined_since_it_was_begun() -> None:
    """Also if the tailnet had another policy meanwhile: then they are not new to whoever asks."""
    compiling, state = Compiling(), state_of(2, 3)
    ready = Ready(compiling)
    assert compiling.compiled(TAILNET, state_of(1)) is None
    await ready.next()
    compiled = compiling.compiled(TAILNET, state)
    compiling.close()
    assert compiled is not None
    for node in state.nodes.values():
        assert compiled.peers(compiled.audience(node)) is None, "everybody"


async def test_where_nobody_moved_meanwhile_nothing_is_worked_out_again_on_the_loop() -> None:
    made: list[Compiled] = []

    def compile_and_tell(text: str | None, state: TailnetState) -> Compiled:
        made.append(compile_whole(text, state))
        return made[-1]

    compiling = Compiling(compile_and_tell)
    ready = Ready(compiling)
    assert compiling.compiled(TAILNET, state_of(1, 2)) is None
    await ready.next()
    compiled = compiling.compiled(TAILNET, state_of(1, 2))
    compiling.close()
    assert isinstance(compiled, Resolution)
    assert compiled is made[0]


async def test_tailnets_take_turns_however_often_one_changes_its_policy() -> None:
    with compiling_costly() as (compiling, costly, ready):
        assert compiling.compiled(TAILNET, state_of(1, comment="first")) is None
        await costly.until_begun("first")
        for number in range(100):
            assert compiling.compiled(TAILNET, state_of(1, comment=str(number))) is None
        assert compiling.compiled(ANOTHER, state_of(1, comment="another")) is None
        await costly.finish("first")
        await costly.until_begun("99")
        assert compiling.compiled(TAILNET, state_of(1, comment="last")) is None
        for comment in ("99", "another", "last"):
            await costly.finish(comment)
        assert [await ready.next() for _ in range(2)] == [ANOTHER, TAILNET]
        assert costly.begun == ["first", "99", "another", "last"], "one that was replaced is never begun"


async def test_a_newer_policy_takes_the_place_of_the_one_that_waits() -> None:
    """Or else a tailnet among busy ones would never get its turn."""
    with compiling_costly() as (compiling, costly, _):
        for tailnet, comment in (
            (TAILNET, "under way"),
            (ANOTHER, "old"),
            (THIRD, "other"),
            (ANOTHER, "new"),
        ):
            assert compiling.compiled(tailnet, state_of(1, comment=comment)) is None
        for comment in ("under way", "new", "other"):
            await costly.finish(comment)
        assert costly.begun == ["under way", "new", "other"]


async def test_nobody_is_called_for_a_tailnet_that_was_forgotten() -> None:
    with compiling_costly() as (compiling, costly, ready):
        for tailnet in (TAILNET, ANOTHER, THIRD):
            assert compiling.compiled(tailnet, state_of(1, comment=str(tailnet))) is None
        await costly.until_begun("1")
        compiling.forget(TAILNET)
        compiling.forget(ANOTHER)
        await costly.finish("1")
        await costly.finish("3")
        assert await ready.next() == THIRD
        assert costly.begun == ["1", "3"]


async def test_who_is_asked_for_again_while_under_way_is_not_compiled_twice() -> None:
    with compiling_costly() as (compiling, costly, ready):
        state = state_of(1, comment="wanted")
        assert compiling.compiled(TAILNET, state) is None
        compiling.forget(TAILNET)
        assert compiling.compiled(TAILNET, state) is None
        await costly.finish("wanted")
        assert await ready.next() == TAILNET
        assert compiling.compiled(TAILNET, state) is not None
        assert costly.begun == ["wanted"]


async def test_a_policy_that_cannot_be_compiled_is_an_error_and_the_next_has_its_turn() -> None:
    compiling = Compiling()
    ready = Ready(compiling)
    state = state_of(1)
    broken = TailnetState(state.tailnet, state.nodes, state.users, "{" + " " * SMALL_TEXT)
    assert compiling.compiled(TAILNET, broken) is None
    assert compiling.compiled(ANOTHER, state) is None
    assert [await ready.next() for _ in range(2)] == [TAILNET, ANOTHER]
    with pytest.raises(Unavailable, match="the policy is not understood"):
        compiling.compiled(TAILNET, broken)
    assert compiling.compiled(ANOTHER, state) is not None
    compiling.close()
