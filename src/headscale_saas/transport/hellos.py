"""Connections in the midst of their TLS handshake.

The loop tells nobody of them before they are done. But each has a file, and who says nothing has it until the
deadline: so we accept them ourselves, and they are counted for their address from the first moment.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from headscale_saas.transport.gate import Ticket
from headscale_saas.transport.limits import Limits

RETRY_SECONDS = 1.0
"""Until we try to accept again where there was no file."""


class Hellos:
    """`arrive` gives an address its ticket, or turns it away; `make` makes what the connection is then."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        limits: Limits,
        arrive: Callable[[str], Ticket | None],
        make: Callable[[Ticket], asyncio.Protocol],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._limits = limits
        self._arrive = arrive
        self._make = make
        self._listeners: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many have not finished."""
        return len(self._tasks)

    def listen(self, listener: socket.socket, backlog: int) -> None:
        listener.setblocking(False)
        listener.listen(backlog)
        self._listeners.append(listener)
        self._watch(listener)

    def stop_accepting(self) -> None:
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            self._loop.remove_reader(listener)
            listener.close()

    async def stop(self) -> None:
        """Who has not finished is not waited for."""
        self.stop_accepting()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _watch(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            for _ in range(self._limits.accepts_per_turn):
                self._greet(*listener.accept())
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:
            self._loop.remove_reader(listener)
            self._loop.call_later(RETRY_SECONDS, self._watch, listener)

    def _greet(self, connected: socket.socket, address: tuple[str, int]) -> None:
        ticket = self._arrive(address[0])
        if ticket is None:
            connected.close()
            return
        task = self._loop.create_task(self._shake_hands(connected, ticket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not at the end of the task, which one that is cancelled at once never reaches.
        task.add_done_callback(lambda task: ticket.leave() if _has_failed(task) else None)

    async def _shake_hands(self, connected: socket.socket, ticket: Ticket) -> None:
        connected.setblocking(False)
        await self._loop.connect_accepted_socket(
            lambda: self._make(ticket),
            connected,
            ssl=self._tls,
            ssl_handshake_timeout=self._limits.tls_handshake_seconds,
        )


def _has_failed(task: "asyncio.Task[None]") -> bool:
    """Then nobody else has the connection. Why is nobody's business: strangers do not write into our log."""
    with contextlib.suppress(asyncio.CancelledError):
        return task.exception() is not None
    return True
