"""Whole netmaps outside a long poll. They cost as much as the tailnet is large, and clients rarely want one.

So each node gets one at a time, and the next when it has taken that one. They are made in the fair queue, in
the turn of their tailnet.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from headscale_saas.control.request import Stream
from headscale_saas.errors import LimitReached
from headscale_saas.live.hub import Queue
from headscale_saas.tailnet.model import NodeId, TailnetId


class Fetches:
    """`queue` is the process's fair queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._under_way: set[tuple[TailnetId, NodeId]] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    async def answer(
        self, tailnet: TailnetId, node: NodeId, stream: Stream, make: Callable[[], bytes]
    ) -> None:
        """Answers with what `make` gives. Raises LimitReached while the node has not taken the one before."""
        whose = tailnet, node
        if whose in self._under_way:
            raise LimitReached("one netmap at a time", code="netmap_under_way", retry_after_seconds=1)
        self._under_way.add(whose)
        try:
            body = await self._in_turn(tailnet, make)
        except BaseException:
            self._under_way.discard(whose)
            raise
        if stream.closed:
            self._under_way.discard(whose)
            return
        stream.on_close = partial(self._under_way.discard, whose)
        stream.start(200, {"content-type": "application/octet-stream"})
        stream.write(body)
        stream.end()

    async def _in_turn(self, tailnet: TailnetId, make: Callable[[], bytes]) -> bytes:
        made: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._queue.submit(tailnet, partial(_make, made, make))
        return await made


def _make(made: asyncio.Future[bytes], make: Callable[[], bytes]) -> None:
    if made.done():
        return  # the client has left
    try:
        made.set_result(make())
    except Exception as problem:
        made.set_exception(problem)
