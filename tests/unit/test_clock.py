from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.clock import TICK_SECONDS, Clock, FakeClock, SystemClock, to_tick


def test_the_system_clock_is_aware_and_in_utc() -> None:
    clock: Clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()


def test_a_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(datetime(2026, 5, 1, tzinfo=UTC))
    clock.advance(90)
    clock.advance(timedelta(minutes=1))
    assert clock.now() == datetime(2026, 5, 1, 0, 2, 30, tzinfo=UTC)
    assert clock.monotonic() == 150


def test_a_wall_clock_may_jump_and_the_monotonic_one_does_not() -> None:
    clock = FakeClock()
    clock.set_wall_clock(datetime(1999, 1, 1, tzinfo=UTC))
    assert clock.now().year == 1999
    assert clock.monotonic() == 0
    with pytest.raises(ValueError, match="only advances"):
        clock.advance(-1)


@given(seconds=st.floats(TICK_SECONDS, 60), now=st.floats(0, 1e6))
def test_whoever_pauses_wakes_at_a_tick_near_to_when_it_would(seconds: float, now: float) -> None:
    pause = to_tick(seconds, now)
    assert abs(pause - seconds) <= TICK_SECONDS / 2 + 1e-6
    ticks = (now + pause) / TICK_SECONDS
    assert ticks == pytest.approx(round(ticks), abs=1e-6)


@given(now=st.floats(0, 1e6))
def test_who_looks_each_tick_misses_none(now: float) -> None:
    first = now + to_tick(TICK_SECONDS, now)
    assert to_tick(TICK_SECONDS, first + 0.001) == pytest.approx(TICK_SECONDS - 0.001, abs=1e-6)
