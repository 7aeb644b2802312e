from datetime import UTC, datetime, timedelta

import pytest

from headscale_saas.clock import Clock, FakeClock, SystemClock


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
