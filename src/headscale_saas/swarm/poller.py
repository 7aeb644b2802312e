"""Keeps a client's long poll open: again after each loss, with the official back-off; answers pings."""

import asyncio
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from headscale_saas.errors import Error
from headscale_saas.swarm.backoff import Backoff
from headscale_saas.swarm.calls import Calls
from headscale_saas.swarm.connection import Connection
from headscale_saas.swarm.inbox import Inbox
from headscale_saas.swarm.poll import MapPoll
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.control import PingRequest
from headscale_saas.tailcfg.maps import MapRequest, MapResponse

KEPT_TROUBLES = 20


class Poller:
    """`request` gives the poll's request, made anew each time. `troubles` holds why the last polls ended."""

    __slots__ = ("_answers", "_backoff", "_calls", "_inbox", "_request", "_task", "reconnects", "troubles")

    def __init__(
        self, calls: Calls, inbox: Inbox, request: Callable[[], MapRequest], *, reconnects: bool
    ) -> None:
        self.reconnects = reconnects
        self.troubles: deque[Exception] = deque(maxlen=KEPT_TROUBLES)
        self._calls, self._inbox, self._request = calls, inbox, request
        self._backoff = Backoff()
        self._task: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()
        inbox.on_full = self._backoff.reset
        inbox.on_message = self._look

    @property
    def is_wanted(self) -> bool:
        """It polls, or waits to poll again."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Ends the poll before, if there is one."""
        self.stop()
        self._task = asyncio.create_task(self._keep_polling())

    def stop(self) -> None:
        for task in (self._task, *self._answers):
            if task:
                task.cancel()
        self._task = None

    async def finished(self) -> None:
        """Returns when it no longer tries."""
        if self._task:
            await asyncio.wait([self._task])

    async def _keep_polling(self) -> None:
        while True:
            try:
                await self._poll()
            except (Error, OSError) as error:
                self.troubles.append(error)
            if not self.reconnects:
                return
            await asyncio.sleep(self._backoff.next_seconds())

    async def _poll(self) -> None:
        connection = await self._calls.connected()
        self._inbox.begin()
        poll = MapPoll(self._inbox.take)
        stream_id = connection.start("/machine/map", encode(self._request()), poll, self._calls.headers())
        try:
            await poll.ended
        finally:
            poll.stop()
            connection.cancel(stream_id)

    def _look(self, message: MapResponse) -> None:
        if (ping := message.ping_request) and ping.url_is_noise and not ping.types and self._calls.connection:
            task = asyncio.create_task(self._answer(ping, self._calls.connection))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _answer(self, ping: PingRequest, connection: Connection) -> None:
        try:
            await connection.call(urlsplit(ping.url).path, b"", self._calls.headers(), "HEAD")
        except Error as error:
            self.troubles.append(error)
