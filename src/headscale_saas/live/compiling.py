"""Compiles policies beside the loop, so that no tailnet waits for another one's policy.

A small policy of a small tailnet is compiled at once. Any other is compiled by the one thread that is there
for it; until it is done its tailnet keeps the policy it had, and all of its changes wait with it: between two
policies nobody is told half of either.

Tailnets take turns, first come, first served. At most one policy of a tailnet waits: a newer one takes its
place, and one that follows a policy under way goes behind all others. So whoever sets costly policies again
and again delays each other tailnet by one of them at most.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from headscale_saas.policy import Compiled, advance, compile_policy, compile_whole
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import TailnetId
from headscale_saas.tailnet.state import TailnetState

K = TypeVar("K")
V = TypeVar("V")

SMALL_TEXT = 4096
SMALL_TAILNET = 100
"""Both together take some 3 ms."""

Compile = Callable[[str | None, TailnetState], Compiled]


class Compilation:
    """Of one state; `result` is there when it is done. One that is not `wanted` any more is dropped then."""

    __slots__ = ("is_wanted", "result", "state", "tailnet")

    def __init__(self, tailnet: TailnetId, state: TailnetState) -> None:
        self.tailnet = tailnet
        self.state = state
        self.is_wanted = True
        self.result: asyncio.Future[Compiled] | None = None

    def is_for(self, tailnet: TailnetId, state: TailnetState) -> bool:
        return self.tailnet == tailnet and self.state.policy_text == state.policy_text


class Compiling:
    """`ready` is called, on the loop, when a tailnet that was told to wait should be looked at again."""

    def __init__(self, compile_: Compile = compile_whole) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policies")
        self._compile = compile_
        self._waiting: dict[TailnetId, TailnetState] = {}
        self._under_way: Compilation | None = None
        self._done: dict[TailnetId, Compilation] = {}
        self._is_closed = False
        self.ready: Callable[[TailnetId], None] = lambda _tailnet: None

    def compiled(self, tailnet: TailnetId, state: TailnetState) -> Compiled | None:
        """The state's policy compiled for it; None: not yet. Raises Unavailable where it cannot be."""
        if is_small(state):
            self.forget(tailnet)
            return compile_policy(state.policy_text, state)
        done = self._done.pop(tailnet, None)
        if done is not None and done.result is not None and done.is_for(tailnet, state):
            return _brought_to(state, done.result.result(), done.state)
        self._want(tailnet, state)
        return None

    def forget(self, tailnet: TailnetId) -> None:
        """Nobody asks for this tailnet any more."""
        self._waiting.pop(tailnet, None)
        self._done.pop(tailnet, None)
        if self._under_way is not None and self._under_way.tailnet == tailnet:
            self._under_way.is_wanted = False

    def close(self) -> None:
        """What is under way is finished, and given to nobody."""
        self._is_closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _want(self, tailnet: TailnetId, state: TailnetState) -> None:
        under_way = self._under_way
        if under_way is not None and under_way.tailnet == tailnet:
            under_way.is_wanted = under_way.is_for(tailnet, state)
            if under_way.is_wanted:
                self._waiting.pop(tailnet, None)
                return
        self._waiting[tailnet] = state  # where an older one waited, there
        self._go_on()

    def _go_on(self) -> None:
        if self._under_way is not None or not self._waiting or self._is_closed:
            return
        tailnet = next(iter(self._waiting))
        begun = self._under_way = Compilation(tailnet, self._waiting.pop(tailnet))
        loop, state = asyncio.get_running_loop(), begun.state
        begun.result = loop.run_in_executor(self._thread, self._compile, state.policy_text, state)
        begun.result.add_done_callback(lambda _: self._end(begun))

    def _end(self, done: Compilation) -> None:
        self._under_way = None
        self._go_on()
        if done.result is None or done.result.cancelled():
            return
        done.result.exception()  # whoever asks next hears of it
        if done.is_wanted:
            self._done[done.tailnet] = done
            self.ready(done.tailnet)


def is_small(state: TailnetState) -> bool:
    """Whether it takes no longer than a slice."""
    text = state.policy_text or ""
    return not text or (len(text) <= SMALL_TEXT and len(state.nodes) <= SMALL_TAILNET)


def _brought_to(state: TailnetState, compiled: Compiled, known: TailnetState) -> Compiled:
    """Compiled for what may be an earlier state: whoever asks knows what changed since he asked last, which
    may be later than what was compiled."""
    nodes, users = _differing(known.nodes, state.nodes), _differing(known.users, state.users)
    return advance(compiled, known, state, Touched(nodes=nodes, users=users, settings=True))


def _differing(before: Mapping[K, V], after: Mapping[K, V]) -> frozenset[K]:
    """Whose rows differ. Most do not, and to touch thousands in vain takes the loop's time."""
    if before is after:
        return frozenset()
    changed = {key for key, row in after.items() if (old := before.get(key)) is not row and old != row}
    return frozenset(changed | (before.keys() - after.keys()))
