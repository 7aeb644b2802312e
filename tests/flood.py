"""A crowd of connections to one port of loopback, as a process: `python -m tests.flood PORT COUNT ORIGINS`.

What each of them says is read from stdin, to its end. Writes a line of JSON whenever something has changed:
how many are open now, how many were closed by the other side, how many of those without an answer, and what
HTTP statuses came.
"""

import asyncio
import json
import resource
import sys
from collections import Counter

OPENING_AT_ONCE = 200
MOST = 10_000
LOOK_SECONDS = 0.1
TOLD = ("open", "closed", "snubbed", "answers")


class Attacker(asyncio.Protocol):
    """One connection: says its piece and waits."""

    def __init__(self, flood: "Flood") -> None:
        self._flood = flood
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._flood.open += 1
        transport.write(self._flood.piece)

    def data_received(self, data: bytes) -> None:
        if not self._answered:
            self._answered = True
            self._flood.answers[data[9:12].decode("latin-1")] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._flood.open -= 1
        self._flood.closed += 1
        self._flood.snubbed += not self._answered


class Flood:
    def __init__(self, port: int, origins: int, piece: bytes) -> None:
        self.piece = piece
        self.open = self.closed = self.snubbed = 0
        self.answers: Counter[str] = Counter()
        self._port = port
        self._origins = origins

    async def run(self, count: int) -> None:
        """Opens so many, then tells of them until it is killed."""
        slots = asyncio.Semaphore(OPENING_AT_ONCE)
        tasks = [
            asyncio.create_task(self._open(f"127.0.1.{1 + number % self._origins}", slots))
            for number in range(count)
        ]
        told = ""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = json.dumps({name: getattr(self, name) for name in TOLD})
            if told != (told := now):
                print(now, flush=True)
            if all(task.done() for task in tasks):
                await asyncio.gather(*tasks)

    async def _open(self, origin: str, slots: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        async with slots:
            await loop.create_connection(
                lambda: Attacker(self), "127.0.0.1", self._port, local_addr=(origin, 0)
            )


def main() -> None:
    port, count, origins = map(int, sys.argv[1:])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(Flood(port, origins, sys.stdin.buffer.read()).run(min(count, MOST)))


if __name__ == "__main__":
    main()
