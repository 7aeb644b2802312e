"""Doorbells: after a commit, tell everybody which tailnets moved. They carry no truth and may be lost.

One channel per database. A payload is a list of words, shorter than PostgreSQL's 8,000 bytes:

    t5:41   tailnet 5 is at version 41 (or later)
    s5      a stream of tailnet 5 was taken over by another process
    l       a pending login was decided
    h3      process 3 listens: its own words come back to it

NOTIFY is never part of a write transaction: committing one takes a lock of the whole server, which with a
synchronous standby is held for a round trip.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from headscale_saas.clock import pause
from headscale_saas.store.constraints import AWAY, FAILURES
from headscale_saas.store.pool import Address
from headscale_saas.store.transactions import Connection
from headscale_saas.tailnet.model import TailnetId, Version

CHANNEL = "headscale"
MOST_BYTES = 7900
GATHER_SECONDS = 0.015
BEAT_SECONDS = 2.0
DEAF_SECONDS = 6.0
RETRY_SECONDS = 1.0
MOST_DIGITS = 19


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard. `deaf`: we heard nothing for a while, or hear for the first time, so look everywhere.

    `versions` are what the tailnets have at least: who has that already need not look.
    """

    versions: Mapping[TailnetId, Version] = {}
    sessions: frozenset[TailnetId] = frozenset()
    logins: bool = False
    deaf: bool = False


def encode(versions: dict[TailnetId, Version], sessions: Iterable[TailnetId], *, logins: bool) -> list[str]:
    """The payloads that say all this."""
    words = [f"t{int(tailnet)}:{int(version)}" for tailnet, version in versions.items()]
    words += [f"s{int(tailnet)}" for tailnet in sessions]
    words += ["l"] if logins else []
    return list(_payloads(words))


def _payloads(words: Iterable[str]) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > MOST_BYTES:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
    if line:
        yield line


def decode(payload: str) -> Rung:
    """What a payload says. Words we do not know are skipped: a newer program may have sent them."""
    words = payload.split()
    return Rung(
        versions={tailnet: Version(version) for tailnet, version in _numbers(words, "t")},
        sessions=frozenset(tailnet for tailnet, _ in _numbers(words, "s")),
        logins="l" in words,
    )


def _numbers(words: Iterable[str], kind: str) -> Iterator[tuple[TailnetId, int]]:
    """The tailnet of each word of a kind, and the number behind it (0 if there is none)."""
    for word in words:
        tailnet, _, number = word[1:].partition(":")
        if word[0] == kind and _is_number(tailnet) and (not number or _is_number(number)):
            yield TailnetId(int(tailnet)), int(number or 0)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


class Doorbell:
    """Rings on a connection of its own, at most once in 15 ms. A failure is forgotten: others poll.

    `drop` is for tests: a payload for which it is true is not sent.
    """

    def __init__(self, address: Address, drop: Callable[[str], bool] = lambda payload: False) -> None:
        self._address = address
        self._drop = drop
        self._versions: dict[TailnetId, Version] = {}
        self._sessions: set[TailnetId] = set()
        self._logins = False
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def ring(self, tailnet: TailnetId, version: Version) -> None:
        """The tailnet has this version. Fits `Database.on_commit`."""
        self._versions[tailnet] = max(version, self._versions.get(tailnet, version))
        self._wake()

    def ring_sessions(self, tailnet: TailnetId) -> None:
        """Streams of this tailnet were taken over: whoever holds older ones should look."""
        self._sessions.add(tailnet)
        self._wake()

    def ring_logins(self) -> None:
        """Pending logins were decided."""
        self._logins = True
        self._wake()

    async def close(self) -> None:
        """Rings what is gathered, then no more."""
        self._closed = True
        if self._task:
            await self._task
        if self._connection:
            with contextlib.suppress(*FAILURES):
                await self._connection.close(timeout=RETRY_SECONDS)

    def _wake(self) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._run(), name="doorbell")

    async def _run(self) -> None:
        try:
            while payloads := await self._gather():
                await self._send([payload for payload in payloads if not self._drop(payload)])
        except AWAY:
            self._hang_up()
        finally:
            self._task = None

    async def _gather(self) -> list[str]:
        if not self._closed:
            await asyncio.sleep(GATHER_SECONDS)
        payloads = encode(self._versions, self._sessions, logins=self._logins)
        self._versions, self._sessions, self._logins = {}, set(), False
        return payloads

    async def _send(self, payloads: list[str]) -> None:
        if not payloads:
            return
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._address.connect()
        # The payloads are made of letters, digits, blanks and colons, so they need no quoting.
        notes = "".join(f"notify {CHANNEL}, '{payload}'; " for payload in payloads)
        await self._connection.execute(f"begin; set local synchronous_commit = off; {notes}commit")

    def _hang_up(self) -> None:
        if self._connection:
            self._connection.terminate()
        self._connection = None


class Listener:
    """Hears doorbells on a connection of its own, which must not lead through a transaction pooler.

    `hear` must not block. It is called with `deaf` after each (re)connection. Every two seconds the listener
    sends itself a word; when three are missing the path is dead, whatever the connection says. Without a
    listener nothing breaks: the safety poll finds what moved.
    """

    def __init__(self, address: Address, hear: Callable[[Rung], None]) -> None:
        self._address = address
        self._hear = hear
        self._own_word = ""
        self._heard_at = 0.0
        self.is_listening = False

    async def run(self) -> None:
        """For ever; connects again a second after each failure."""
        while True:
            with contextlib.suppress(*AWAY):
                await self._listen()
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        connection = await self._address.connect()
        try:
            self._own_word = f"h{connection.get_server_pid()}"
            await connection.add_listener(CHANNEL, self._heard)
            self._heard_at = asyncio.get_running_loop().time()
            self.is_listening = True
            self._hear(Rung(deaf=True))
            while self._is_alive(connection):
                await connection.execute(f"notify {CHANNEL}, '{self._own_word}'")
                await pause(BEAT_SECONDS)
        finally:
            self.is_listening = False
            connection.terminate()

    def _is_alive(self, connection: Connection) -> bool:
        silence = asyncio.get_running_loop().time() - self._heard_at
        return not connection.is_closed() and silence < DEAF_SECONDS

    def _heard(self, connection: Connection, pid: int, channel: str, payload: str) -> None:
        if payload == self._own_word:
            self._heard_at = asyncio.get_running_loop().time()
        elif not payload.startswith("h"):
            self._hear(decode(payload))
