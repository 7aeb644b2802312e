"""Many connections at once: the gate before the handshake, and whose handshake comes when."""

import asyncio
import contextlib
import resource
from collections.abc import Hashable
from functools import partial

import pytest
from noise_client import (
    EPHEMERAL,
    MACHINE,
    SERVER,
    dial,
    door,
    hang_up,
    initiation,
    upgrade_request,
)
from tests.waiting import until

from headscale_saas.tailcfg.keys import MachineKey, PrivateKey
from headscale_saas.transport.fair import FairQueue, Work
from headscale_saas.transport.gate import Gate
from headscale_saas.transport.limits import Limits
from headscale_saas.wire.noise import Initiator, ServerKeys, hear

STORM = 1000


def test_what_is_wrong_with_one_who_waits_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    gate, started = Gate(1, patience=1), list[str]()

    def broken() -> bool:
        raise RuntimeError("its socket is gone")

    def sound() -> bool:
        started.append("sound")
        return True

    assert not gate.enter("lb", sound).waits
    assert gate.enter("lb", sound).waits
    assert gate.enter("lb", lambda: False).waits
    assert gate.enter("lb", broken).waits
    gate.leave("lb")
    assert started == ["sound"]
    assert "could not be started" in caplog.text
    gate.leave("lb")
    assert not gate.enter("lb", sound).waits  # nothing was lost, nothing given twice
    assert gate.enter("lb", sound).waits


def test_who_hangs_up_in_the_line_is_forgotten_there_and_then() -> None:
    """Else a flood of connections that are closed at once would be kept until the line moves."""
    gate, started = Gate(1, patience=1), list[int]()

    def start(number: int) -> bool:
        started.append(number)
        return True

    gate.enter("lb", lambda: True)
    tickets = [gate.enter("lb", partial(start, number)) for number in range(1000)]
    for ticket in (*tickets[:500], *tickets[501:]):
        ticket.leave()
    assert gate.waiting() == 1
    gate.leave("lb")
    assert started == [500]
    gate.enter("lb", partial(start, 1000)).leave()
    assert not gate._waiting


def test_whose_turn_came_in_vain_takes_no_place_in_the_next_line() -> None:
    """It is told of the end of its connection later, when others may wait."""
    gate = Gate(1, patience=1)
    gate.enter("lb", lambda: True)
    closing = gate.enter("lb", lambda: False)
    gate.leave("lb")
    gate.enter("lb", lambda: True)
    gate.enter("lb", lambda: True)
    closing.leave()
    assert gate.waiting() == 1


def test_in_a_long_queue_the_newest_and_the_oldest_take_turns() -> None:
    gate, started = Gate(1, patience=1), list[int]()

    def start(number: int) -> bool:
        started.append(number)
        return True

    gate.enter("lb", lambda: True)
    for number in range(4):
        gate.enter("lb", lambda number=number: start(number))  # type: ignore[misc]
    for _ in range(4):
        gate.leave("lb")
    assert started == [3, 0, 2, 1]


async def test_a_thousand_connections_at_once_are_all_answered() -> None:
    _raise_file_limit(3 * STORM)

    async def ask(request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(request)
        status = await reader.readuntil(b"\r\n")
        writer.transport.abort()
        return status[9:12]

    sound, malformed = upgrade_request(initiation()[1]), b"nonsense\r\n\r\n"
    async with door(limits=Limits(before_handshake=1)) as opened, asyncio.timeout(20):
        gate = opened.edge._context.gate
        first = await asyncio.open_connection("127.0.0.1", opened.port)
        await until(lambda: opened.edge.counts.connections == 1)
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(ask(malformed if number < STORM // 2 else sound)) for number in range(STORM)
            ]
            await until(lambda: gate.waiting() == STORM)
            await hang_up(first[1])
        answers = [task.result() for task in asked]
        assert answers == [b"400"] * (STORM // 2) + [b"101"] * (STORM // 2)
        assert gate.waiting() == 0
        await until(lambda: not opened.edge.connections)


async def test_those_who_leave_while_they_wait_leave_no_trace() -> None:
    async with door(limits=Limits(before_handshake=1)) as opened:
        idle = await asyncio.open_connection("127.0.0.1", opened.port)
        await until(lambda: opened.edge.counts.connections == 1)
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", opened.port)
            await hang_up(writer)
        last = asyncio.create_task(dial(opened.port))
        await until(lambda: opened.edge._context.gate.waiting() == 1)
        await hang_up(idle[1])
        client = await last
        await client.close()
        await until(lambda: not opened.edge._context.gate._at_work)


async def test_who_sends_too_much_while_it_waits_is_cut_off() -> None:
    async with door(limits=Limits(before_handshake=1, held_bytes=1000)) as opened:
        idle = await asyncio.open_connection("127.0.0.1", opened.port)
        await until(lambda: opened.edge.counts.connections == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(b"x" * 2000)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        await hang_up(writer)
        await hang_up(idle[1])


async def test_a_machine_we_know_does_not_wait_behind_strangers() -> None:
    """All come from one address, and the strangers came first."""
    known = hear(
        Initiator(MACHINE, ServerKeys(SERVER).serving, EPHEMERAL, 130).initiation, ServerKeys(SERVER)
    )
    strangers = [PrivateKey(bytes([number]) * 32) for number in range(1, 41)]
    order: list[str] = []

    def lane_of(machine: MachineKey) -> str | None:
        return "acme" if machine == known.machine_key else None

    async def come(name: str, machine: PrivateKey) -> None:
        client = await dial(opened.port, machine=machine)
        order.append(name)
        await client.close()

    limits = Limits(handshake_share=0.01, handshake_patience=1)
    async with door(limits=limits, lane_of=lane_of) as opened:
        opened.edge._host.handshakes._others = lambda: True  # somebody is always busy
        async with asyncio.TaskGroup() as group:
            for machine in strangers:
                group.create_task(come("stranger", machine))
            await until(lambda: len(opened.edge._host.connections) + len(order) >= len(strangers))
            group.create_task(come("known", MACHINE))
    assert order.index("known") < len(strangers) // 2


class Noting:
    """A fair queue that notes in which lanes work waited."""

    def __init__(self, queue: FairQueue) -> None:
        self.lanes: set[Hashable] = set()
        self._queue = queue

    def submit(self, lane: Hashable, work: Work) -> None:
        self.lanes.add(lane)
        self._queue.submit(lane, work)


async def test_strangers_wait_for_their_handshakes_by_address() -> None:
    """Else a new device would wait until a flood from elsewhere is over."""
    async with door() as opened:
        opened.edge._host.handshakes = noting = Noting(opened.edge._host.handshakes)  # type: ignore[assignment]
        for origin in ("127.0.0.1", "127.0.0.2"):
            await (await dial(opened.port, origin=origin)).close()
    unheard, strangers = {"127.0.0.1", "127.0.0.2"}, {("stranger", "127.0.0.1"), ("stranger", "127.0.0.2")}
    assert noting.lanes == unheard | strangers


def _raise_file_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, wanted), hard), hard))
