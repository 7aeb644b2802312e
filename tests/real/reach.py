"""Whether one machine reaches another by TCP, and since when (talk.py speaks at both ends)."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from real.client import Client
from real.host import Host, Process
from real.wait import together, until

TALK = [sys.executable, "-I", str(Path(__file__).parent / "talk.py")]


@contextmanager
def serving(*hosts: Host, port: int) -> Iterator[None]:
    """Each host answers on the port with its name, and the address that it was asked from."""
    with ExitStack() as stack:
        servers = [host.start(f"serve-{port}", *TALK, "serve", str(port), host.name) for host in hosts]
        for server in servers:
            stack.callback(server.stop)
        for server in servers:
            server.wait_for("serving")
        yield


def answers(asker: Host, port: int, *addresses: str) -> list[str]:
    """What the servers there say; "" of one that cannot be reached."""
    said: list[str] = json.loads(asker.run(*TALK, "ask", str(port), *addresses).stdout)
    return said


def reached(asker: Client, targets: Sequence[Client], port: int) -> set[Client]:
    """Those who answer it on the port, each of them by both addresses."""
    own = asker.addresses()
    theirs = together(Client.addresses, targets)
    said = answers(asker.host, port, *(address for pair in theirs for address in pair))
    found = set()
    for target, heard in zip(targets, zip(said[::2], said[1::2], strict=True), strict=True):
        if heard != ("", ""):
            assert heard == tuple(f"{target.host.name} {address}" for address in own), f"{target}: {heard}"
            found.add(target)
    return found


class Attempt(NamedTuple):
    """One of many connections; the times are `time.monotonic`."""

    began: float
    ended: float
    answer: str


class Knocks:
    """What became of the attempts to reach one port, made ten times a second."""

    def __init__(self, process: Process, name: str) -> None:
        self._process = process
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def attempts(self) -> list[Attempt]:
        """In the order in which they began."""
        whole_lines = self._process.output().splitlines(keepends=True)
        lines = [json.loads(line) for line in whole_lines if line.endswith("\n")]
        return sorted(Attempt(**line) for line in lines)

    def opened(self, since: float) -> float:
        """Waits for the first answer after `since`; how many seconds after it that came."""
        return self._first(since, answered=True).ended - since

    def closed(self, since: float) -> float:
        """Waits until nobody answers; how many seconds after `since` an attempt began that was answered."""
        until(f"{self} to be in vain", lambda: self._last_were_in_vain(since), 10)
        answered = [each.began for each in self.attempts() if each.answer]
        return max(answered, default=since) - since

    def are_always(self, *, answered: bool, since: float) -> bool:
        """Whether all attempts since then ended alike, of which there are some."""
        self._first(time.monotonic(), answered)
        return {bool(each.answer) for each in self.attempts() if each.began >= since} == {answered}

    def _first(self, since: float, answered: bool) -> Attempt:
        def found() -> Attempt | None:
            later = (each for each in self.attempts() if each.began >= since)
            return next((each for each in later if bool(each.answer) == answered), None)

        what = f"{self} to be {'answered' if answered else 'in vain'}"
        found_one = until(what, found, 10, every=0.05)
        assert found_one is not None
        return found_one

    def _last_were_in_vain(self, since: float) -> bool:
        later = [each for each in self.attempts() if each.began >= since]
        return len(later) >= 5 and not any(each.answer for each in later[-5:])


@contextmanager
def knocking(asker: Client, target: Client, port: int) -> Iterator[Knocks]:
    """Asks all the time, until the block ends."""
    name = f"knock-{target.host.name}-{port}"
    process = asker.host.start(name, *TALK, "knock", str(port), target.ipv4)
    try:
        yield Knocks(process, f"{asker}'s knocks at {target}:{port}")
    finally:
        process.stop()
