"""Whoever asks for much waits behind himself."""

import asyncio

import pytest

from headscale_saas.errors import Unavailable
from headscale_saas.store import turns as module
from headscale_saas.store.turns import Turns, origin_of


class Street:
    """Notes in which order those who wait come in; `leave` lets the one inside go."""

    def __init__(self, places: int = 1) -> None:
        self.turns = Turns(places)
        self.came: list[str] = []
        self.leave = asyncio.Semaphore(0)

    async def visit(self, who: str) -> None:
        async with self.turns.turn(who):
            self.came.append(who)
            await self.leave.acquire()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_who_asks_once_is_next_after_one_of_a_flood() -> None:
    street = Street()
    tasks = [asyncio.create_task(street.visit("flood")) for _ in range(100)]
    await settle()
    tasks.append(asyncio.create_task(street.visit("guest")))
    await settle()
    for _ in range(101):
        street.leave.release()
    await asyncio.gather(*tasks)
    assert street.came.index("guest") <= 2


async def test_no_place_is_lost_when_those_who_wait_give_up() -> None:
    street = Street(places=2)
    tasks = [asyncio.create_task(street.visit("a")) for _ in range(50)]
    await settle()
    for task in tasks[::2]:
        task.cancel()
    await settle()
    for _ in range(50):
        street.leave.release()
    await asyncio.gather(*tasks, return_exceptions=True)
    later = [asyncio.create_task(street.visit(f"later{n}")) for n in range(2)]
    await settle()
    assert {"later0", "later1"} <= set(street.came)
    for _ in range(2):
        street.leave.release()
    await asyncio.gather(*later)


async def test_a_place_that_comes_at_the_moment_of_giving_up_goes_to_the_next() -> None:
    street = Street()
    first, quitter, third = (asyncio.create_task(street.visit(who)) for who in ("first", "quitter", "third"))
    await settle()
    street.leave.release()
    await asyncio.sleep(0)  # `first` leaves and gives its place on
    quitter.cancel()
    await settle()
    assert street.came == ["first", "third"]
    street.leave.release()
    await asyncio.gather(first, third)


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    street = Street()
    inside = asyncio.create_task(street.visit("inside"))
    await settle()
    with pytest.raises(Unavailable):
        await street.visit("outside")
    street.leave.release()
    await inside
    street.leave.release()
    await street.visit("outside")


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix socket", "unix socket"),
    ],
)
def test_all_of_a_64_is_one_origin(address: str, origin: str) -> None:
    assert origin_of(address) == origin
