"""Many connections at once: the gate before the handshake, and whose handshake comes when."""

import asyncio
import contextlib
import resource
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import pytest
from noise_client import (
    EPHEMERAL,
    MACHINE,
    SERVER,
    Door,
    dial,
    door,
    hang_up,
    initiation,
    upgrade_request,
)
from tests.waiting import until

from headscale_saas.tailcfg.keys import MachineKey, PrivateKey
from headscale_saas.transport.fair import FairQueue, Work
from headscale_saas.transport.gate import Gate, Ticket
from headscale_saas.transport.limits import Limits
from headscale_saas.transport.sweep import NEVER
from headscale_saas.wire.noise import Initiator, ServerKeys, hear

STORM = 1000


def gate_for(limit: int, *, free: Callable[[], int] = lambda: 1000) -> Gate:
    return Gate(limit, patience=1, free=free)


def arrive(gate: Gate, origin: str = "lb") -> Ticket:
    ticket = gate.arrive(origin)
    assert ticket is not None
    return ticket


def test_what_is_wrong_with_one_who_waits_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    gate, started = gate_for(1), list[str]()

    def broken() -> bool:
        raise RuntimeError("its socket is gone")

    def sound() -> bool:
        started.append("sound")
        return True

    first, second = arrive(gate), arrive(gate)
    assert first.enter(sound)
    assert not second.enter(sound)
    assert not arrive(gate).enter(lambda: False)
    failed = arrive(gate)
    assert not failed.enter(broken)
    first.leave()
    assert started == ["sound"]
    assert "could not be started" in caplog.text
    second.leave()
    failed.rest()  # it has no place to give
    assert arrive(gate).enter(sound)  # nothing was lost, nothing given twice
    assert not arrive(gate).enter(sound)


def test_a_place_is_given_back_by_who_rests_and_taken_again() -> None:
    gate = gate_for(1)
    trickling, other = arrive(gate), arrive(gate)
    assert trickling.enter(lambda: True)
    assert trickling.enter(lambda: True)
    trickling.rest()
    trickling.rest()
    assert other.enter(lambda: True)
    assert not trickling.enter(lambda: True)
    other.leave()
    assert trickling.enter(lambda: True)
    trickling.leave()
    assert not gate._at_work
    assert not gate._here


def test_an_origin_gets_no_more_connections_than_leave_room_for_others() -> None:
    """Of 30 one origin may have 20; then two thirds of what is left; and so on."""
    tickets: list[Ticket] = []
    gate = gate_for(1, free=lambda: 30 - len(tickets))

    def crowd(origin: str) -> int:
        before = len(tickets)
        while (ticket := gate.arrive(origin)) is not None:
            tickets.append(ticket)
        return len(tickets) - before

    assert [crowd(origin) for origin in ("a", "b", "c", "d")] == [20, 7, 2, 1]
    assert gate.arrive("e") is None
    tickets.pop(0).leave()
    assert gate.arrive("a") is None
    assert gate.arrive("e") is not None


def test_who_hangs_up_in_the_line_is_forgotten_there_and_then() -> None:
    """Else a flood of connections that are closed at once would be kept until the line moves."""
    gate, started = gate_for(1), list[int]()

    def start(number: int) -> bool:
        started.append(number)
        return True

    def enter(number: int) -> Ticket:
        ticket = arrive(gate)
        ticket.enter(partial(start, number))
        return ticket

    first = enter(-1)
    tickets = [enter(number) for number in range(1000)]
    for ticket in (*tickets[:500], *tickets[501:]):
        ticket.leave()
    assert gate.waiting() == 1
    first.leave()
    assert started == [500]
    enter(1000).leave()
    assert not gate._waiting


def test_whose_turn_came_in_vain_takes_no_place_in_the_next_line() -> None:
    """It is told of the end of its connection later, when others may wait."""
    gate = gate_for(1)
    first, closing, second, third = (arrive(gate) for _ in range(4))
    first.enter(lambda: True)
    closing.enter(lambda: False)
    first.leave()
    second.enter(lambda: True)
    third.enter(lambda: True)
    closing.leave()
    assert gate.waiting() == 1


def test_in_a_long_queue_the_newest_and_the_oldest_take_turns() -> None:
    gate, started = gate_for(1), list[int]()

    def start(number: int) -> bool:
        started.append(number)
        return True

    tickets = [arrive(gate) for _ in range(5)]
    for number, ticket in enumerate(tickets):
        ticket.enter(partial(start, number))
    for number in (0, 4, 1, 3):
        tickets[number].leave()
    assert started == [4, 1, 3, 2]


class Held:
    """A fair queue whose work waits until it is let go: who is in it is at work behind the gate."""

    def __init__(self, opened: Door) -> None:
        self.work: list[tuple[Hashable, Work]] = []
        self._host = opened.edge._host
        self._queue = self._host.handshakes
        self._host.handshakes = self  # type: ignore[assignment]

    def submit(self, lane: Hashable, work: Work) -> None:
        self.work.append((lane, work))

    def let_go(self) -> None:
        self._host.handshakes = self._queue
        for lane, work in self.work:
            self._queue.submit(lane, work)


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
        gate, held = opened.edge._context.gate, Held(opened)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(ask(sound))
            await until(lambda: bool(held.work))
            asked = [
                group.create_task(ask(malformed if number < STORM // 2 else sound)) for number in range(STORM)
            ]
            await until(lambda: gate.waiting() == STORM)
            held.let_go()
        answers = [task.result() for task in asked]
        assert first.result() == b"101"
        assert answers == [b"400"] * (STORM // 2) + [b"101"] * (STORM // 2)
        assert gate.waiting() == 0
        await until(lambda: not opened.edge.connections)


@pytest.mark.parametrize("sent", [b"", b"POST /ts2021 HTTP/1.1\r\nHost: "])
async def test_who_has_not_finished_asking_keeps_nobody_waiting(sent: bytes) -> None:
    """A flood of them would need 256 for each deadline, else, to stop all others of their address."""
    async with door(limits=Limits(before_handshake=1)) as opened:
        slow = [await asyncio.open_connection("127.0.0.1", opened.port) for _ in range(3)]
        for _, writer in slow:
            writer.write(sent)
        await until(lambda: opened.edge.counts.connections == 3)
        await (await dial(opened.port)).close()
        for _, writer in slow:
            await hang_up(writer)
        await until(lambda: not opened.edge._context.gate._here)


async def test_the_time_for_a_header_goes_on_after_the_wait() -> None:
    """And does not begin anew, nor run while the line stands still."""
    limits = Limits(before_handshake=1, header_seconds=0.6, sweep_seconds=0.02)
    async with door(limits=limits) as opened:
        held, gate = Held(opened), opened.edge._context.gate
        first = asyncio.create_task(dial(opened.port))
        await until(lambda: bool(held.work))
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(b"GET / HTTP/1.1\r\n")
        await until(lambda: gate.waiting() == 1)
        (waits,) = (it for it in opened.edge._context.state.connections if it._held is not None)
        assert waits.check_at == NEVER
        held.let_go()
        client = await first
        await until(lambda: waits.check_at != NEVER)
        assert waits.check_at <= asyncio.get_running_loop().time() + limits.header_seconds
        assert await reader.read() == b""  # it never finished
        await hang_up(writer)
        await client.close()


@pytest.mark.parametrize(("waiting", "working"), [(1.2, 0.0), (0.0, 1.2)])
async def test_a_wait_in_the_line_is_no_idleness(waiting: float, working: float) -> None:
    """Though an earlier request of the connection is answered during the wait."""
    answers = [asyncio.Event(), asyncio.Event()]
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await answers[len(asked) - 1].wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with door(app=app, limits=Limits(before_handshake=1, keep_alive_seconds=1)) as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: asked == ["/1"])
        held = Held(opened)
        first = asyncio.create_task(dial(opened.port))
        await until(lambda: bool(held.work))
        writer.write(b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: opened.edge.waiting == 1)
        answers[0].set()
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(waiting)
        assert opened.edge.waiting == 1
        held.let_go()
        await until(lambda: asked == ["/1", "/2"])
        await asyncio.sleep(working)
        answers[1].set()
        assert (await reader.readuntil(b"\r\n"))[9:12] == b"204"
        await hang_up(writer)
        await (await first).close()


async def test_those_who_leave_while_they_wait_leave_no_trace() -> None:
    async with door(limits=Limits(before_handshake=1)) as opened:
        held, gate = Held(opened), opened.edge._context.gate
        first = asyncio.create_task(dial(opened.port))
        await until(lambda: bool(held.work))
        for count in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", opened.port)
            writer.write(upgrade_request(initiation()[1]))
            await until(lambda count=count: gate.waiting() == count + 1)  # type: ignore[misc]
            await hang_up(writer)
        last = asyncio.create_task(dial(opened.port))
        await until(lambda: gate.waiting() == 4)
        held.let_go()
        for client in (await first, await last):
            await client.close()
        await until(lambda: not gate._here)
        assert not gate._at_work
        assert opened.edge.counts.handshakes == 2, "nobody's time went to who had left"


async def test_who_sends_too_much_while_it_waits_is_cut_off() -> None:
    async with door(limits=Limits(before_handshake=1, held_bytes=1000)) as opened:
        held = Held(opened)
        first = asyncio.create_task(dial(opened.port))
        await until(lambda: bool(held.work))
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(b"x" * 2000)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        await hang_up(writer)
        held.let_go()
        await (await first).close()


async def test_when_files_run_out_newcomers_are_turned_away_and_counted() -> None:
    async with door(limits=Limits(connections=4)) as opened:
        idle = [await asyncio.open_connection("127.0.0.1", opened.port) for _ in range(4)]
        await until(lambda: opened.edge.counts.connections == 4)
        with contextlib.suppress(ConnectionResetError):
            assert await idle[3][0].read() == b""
        assert opened.edge.counts.turned_away == 1
        for _, writer in idle:
            await hang_up(writer)
        await (await dial(opened.port)).close()


async def test_who_was_refused_counts_until_it_has_hung_up() -> None:
    """Else one address could take all files with nonsense."""
    async with door(limits=Limits(connections=6)) as opened:
        refused = [await asyncio.open_connection("127.0.0.1", opened.port) for _ in range(4)]
        for reader, writer in refused:
            writer.write(b"nonsense\r\n\r\n")
            assert (await reader.readuntil(b"\r\n"))[9:12] == b"400"
        refused.append(await asyncio.open_connection("127.0.0.1", opened.port))
        with contextlib.suppress(ConnectionResetError):
            assert await refused[-1][0].read() == b""
        assert opened.edge.counts.turned_away == 1
        await (await dial(opened.port, origin="127.0.0.2")).close()
        for _, writer in refused:
            await hang_up(writer)
        await until(lambda: not opened.edge._context.gate._here)


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
