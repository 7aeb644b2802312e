"""Compiles policies beside the loop, so that no tailnet waits for another one's policy.

A small policy of a small tailnet is compiled at once. Any other is compiled by the one thread that is there
for it, in the order of asking; until it is done its tailnet keeps the policy it had, and all of its changes
wait with it: between two policies nobody is told half of either.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from headscale_saas.policy import Compiled, advance, compile_policy, compile_whole
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import TailnetId
from headscale_saas.tailnet.state import TailnetState

SMALL_TEXT = 4096
SMALL_TAILNET = 100
"""Both together take some 3 ms."""

Compilation = asyncio.Future[Compiled]


class Compiling:
    """`ready` is called, on the loop, when a tailnet that was told to wait should be looked at again."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policies")
        self._begun: dict[TailnetId, tuple[TailnetState, Compilation]] = {}
        self.ready: Callable[[TailnetId], None] = lambda _tailnet: None

    def compiled(self, tailnet: TailnetId, state: TailnetState) -> Compiled | None:
        """The state's policy compiled for it; None: not yet. Raises Unavailable where it cannot be."""
        if is_small(state):
            self.forget(tailnet)
            return compile_policy(state.policy_text, state)
        begun = self._begun.get(tailnet)
        if begun is None or begun[0].policy_text != state.policy_text:
            self._begin(tailnet, state)
            return None
        known, compilation = begun
        if not compilation.done():
            return None
        del self._begun[tailnet]
        # Whoever asks knows what changed since he asked last, which may be later than what was compiled.
        nodes = frozenset(known.nodes.keys() | state.nodes.keys())
        users = frozenset(known.users.keys() | state.users.keys())
        everything = Touched(nodes=nodes, users=users, settings=True)
        return advance(compilation.result(), known, state, everything)

    def forget(self, tailnet: TailnetId) -> None:
        """Nobody asks for this tailnet any more."""
        begun = self._begun.pop(tailnet, None)
        if begun is not None:
            begun[1].cancel()

    def close(self) -> None:
        """What is under way is finished, and given to nobody."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, tailnet: TailnetId, state: TailnetState) -> None:
        self.forget(tailnet)
        loop = asyncio.get_running_loop()
        compilation = loop.run_in_executor(self._thread, compile_whole, state.policy_text, state)
        self._begun[tailnet] = state, compilation
        compilation.add_done_callback(lambda _: self._end(tailnet, compilation))

    def _end(self, tailnet: TailnetId, compilation: Compilation) -> None:
        if not compilation.cancelled():
            compilation.exception()  # whoever asks next hears of it
            self.ready(tailnet)


def is_small(state: TailnetState) -> bool:
    """Whether it takes no longer than a slice."""
    text = state.policy_text or ""
    return not text or (len(text) <= SMALL_TEXT and len(state.nodes) <= SMALL_TAILNET)
