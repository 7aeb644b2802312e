"""Whole netmaps outside a long poll. They cost as much as the tailnet is large, and clients rarely want one.

So each node gets one at a time, and the next a second after it has taken that one. They are made in the fair
queue, in the turns of their tailnet: a thousand peers take 30 ms, in which nobody else shall wait.
"""

import asyncio
from collections.abc import Generator, Iterator
from functools import partial

from headscale_saas.control.request import Stream
from headscale_saas.errors import LimitReached
from headscale_saas.live.hub import Queue
from headscale_saas.tailnet.model import NodeId, TailnetId

PAUSE_SECONDS = 1.0

Steps = Generator[None, None, bytes]
"""A netmap in the making."""


class Fetches:
    """`queue` is the process's fair queue; `pause` the seconds between two netmaps of a node."""

    def __init__(self, queue: Queue, pause: float = PAUSE_SECONDS) -> None:
        self._queue = queue
        self._pause = pause
        self._under_way: set[tuple[TailnetId, NodeId]] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    async def answer(self, tailnet: TailnetId, node: NodeId, stream: Stream, steps: Steps) -> None:
        """Answers with what the steps come to. Raises LimitReached if the node had one just now."""
        whose = tailnet, node
        if whose in self._under_way:
            raise LimitReached("one netmap at a time", code="netmap_under_way", retry_after_seconds=1)
        self._under_way.add(whose)
        try:
            body = await self._in_turns(tailnet, steps)
        except BaseException:
            self._under_way.discard(whose)
            raise
        stream.on_close = partial(self._taken, whose)
        if stream.closed:
            self._taken(whose)
            return
        stream.start(200, {"content-type": "application/octet-stream"})
        stream.write(body)
        stream.end()

    def _taken(self, whose: tuple[TailnetId, NodeId]) -> None:
        asyncio.get_running_loop().call_later(self._pause, self._under_way.discard, whose)

    async def _in_turns(self, tailnet: TailnetId, steps: Steps) -> bytes:
        made: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._queue.submit(tailnet, _making(made, steps))
        return await made


def _making(made: asyncio.Future[bytes], steps: Steps) -> Iterator[None]:
    """Until it is made, or the client has left."""
    try:
        while not made.done():
            next(steps)
            yield
    except StopIteration as end:
        made.set_result(end.value)
    except Exception as problem:
        made.set_exception(problem)
