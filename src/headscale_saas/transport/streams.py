"""The seam to `control`: a request with its whole body, and the stream that answers it."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

from h2.errors import ErrorCodes
from h2.stream import H2Stream

from headscale_saas.tailcfg.keys import MachineKey
from headscale_saas.transport.bodies import Bodies
from headscale_saas.transport.fair import FairQueue
from headscale_saas.transport.limits import Limits

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """What the handshake proved, the same for every request of a connection.

    `peer` is the client's address as text, without port; behind trusted proxies the one they name.
    """

    machine: MachineKey
    protocol_version: int
    peer: str


class State(IntEnum):
    """A stream goes forward only."""

    UNANSWERED = 0
    STARTED = 1
    ENDING = 2
    CLOSED = 3


class Sender(Protocol):
    """What a stream needs of its connection; `transport.outbound` is the real one."""

    def send_headers(self, stream: "Stream", status: int, headers: Mapping[str, str], end: bool) -> None: ...
    def send_now(self, stream: "Stream", data: bytes) -> bool: ...
    def enqueue(self, stream: "Stream", data: bytes) -> bool: ...
    def finish(self, stream: "Stream") -> None: ...
    def abandon(self, stream: "Stream", code: ErrorCodes) -> None: ...


_STARTED = State.STARTED  # looked up for every message of every client


class Stream:
    """One response. Methods on a closed stream do nothing: the client may leave at any time."""

    __slots__ = (
        "_sender",
        "body",
        "body_bytes",
        "h2",
        "id",
        "moved_at",
        "on_close",
        "on_writable",
        "queue",
        "queued",
        "request",
        "room",
        "state",
        "task",
    )

    def __init__(self, sender: Sender, h2: H2Stream) -> None:
        self._sender = sender
        self.h2 = h2
        self.id = h2.stream_id
        self.state = State.UNANSWERED
        self.on_close: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.request: Request | None = None
        self.task: asyncio.Task[None] | None = None
        self.body: bytearray | None = None
        self.body_bytes = 0
        self.queue: deque[memoryview] | None = None
        self.queued = 0
        self.room = 0
        self.moved_at = 0.0

    @property
    def closed(self) -> bool:
        """Nothing can be written any more: it ended, was reset, or the connection is gone."""
        return self.state >= State.ENDING

    @property
    def ending(self) -> bool:
        """`end` was called, but what is queued has not left yet."""
        return self.state == State.ENDING

    @property
    def answered(self) -> bool:
        return self.state != State.UNANSWERED

    @property
    def writable(self) -> bool:
        """The queue is empty: a write of any size would be taken."""
        return self.state is _STARTED and not self.queued

    def respond(self, status: int, body: bytes = b"", content_type: str | None = None) -> None:
        """The whole answer. An empty body is said with the headers."""
        headers = {} if content_type is None else {"content-type": content_type}
        if not body:
            self._start(status, headers, end=True)
            return
        headers["content-length"] = str(len(body))
        self.start(status, headers)
        self.write(body)
        self.end()

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Sends the headers at once; the body follows by `write` and `end`."""
        self._start(status, headers, end=False)

    def write(self, data: bytes) -> bool:
        """All of it or nothing: True if it is sent or queued. Never blocks, never raises."""
        if self.state is not _STARTED:
            return False
        if not self.queued and self._sender.send_now(self, data):
            return True
        return self._sender.enqueue(self, data)

    def end(self) -> None:
        """Ends the body, after what is queued."""
        if self.state == State.STARTED:
            self.state = State.ENDING
            if not self.queued:
                self._sender.finish(self)

    def reset(self) -> None:
        """Gives the stream up: the client sees a failed request, not an ended body."""
        if self.state != State.CLOSED:
            self._sender.abandon(self, ErrorCodes.INTERNAL_ERROR)

    def over(self) -> None:
        """For the connection: the stream is closed, tell its holder. Only the first call counts."""
        if self.state == State.CLOSED:
            return
        unanswered, self.state = self.state == State.UNANSWERED, State.CLOSED
        task, self.task = self.task, None
        if unanswered and task is not None:
            task.cancel()
        self.body, self.queue, self.queued, self.request = None, None, 0, None
        callback, self.on_close, self.on_writable = self.on_close, None, None
        _call(callback)

    def drained(self) -> None:
        """For the connection: the queue has become empty."""
        _call(self.on_writable)

    def _start(self, status: int, headers: Mapping[str, str], *, end: bool) -> None:
        if self.state == State.UNANSWERED:
            self.state = State.ENDING if end else State.STARTED
            self._sender.send_headers(self, status, headers, end)


@dataclass(frozen=True, slots=True)
class Request:
    """`headers` have lower-case names, several of one name joined by ", "; `:authority` is not among them."""

    connection: Connection
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    stream: Stream

    def with_body(self, body: bytes) -> "Request":
        return replace(self, body=body)


Handler = Callable[[Request], Awaitable[None]]
LaneOf = Callable[[MachineKey], Hashable | None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all connections of a process share. `work` runs in slices, `starts` one step a turn.

    `lane_of` says who shall wait for whom: it gives the lane of a machine's work. None: a stranger, of whom
    all share one lane.
    """

    handler: Handler
    limits: Limits
    work: FairQueue
    starts: FairQueue
    loop: asyncio.AbstractEventLoop
    lane_of: LaneOf
    bodies: Bodies


def _call(callback: Callable[[], None] | None) -> None:
    if callback is None:
        return
    try:
        callback()
    except Exception:
        _log.exception("a stream's callback failed")
