"""What anybody can cause is told so many times a minute, and nobody's flood hides another's first."""

import pytest

from headscale_saas.observe import Ration
from headscale_saas.observe import ration as observe_ration


def test_a_flood_is_told_a_few_times_and_then_its_size() -> None:
    now = 0.0
    ration = Ration(100, lambda: now)
    assert [ration.left_out("acme") for _ in range(1000)] == [0] * 100 + [None] * 900
    assert ration.left_out("other") == 0
    now = 60.0
    assert ration.left_out("acme") == 900
    assert ration.left_out("acme") == 0


def test_a_while_may_be_an_hour() -> None:
    now = 0.0
    ration = Ration(2, lambda: now, seconds=3600)
    assert [ration.left_out() for _ in range(3)] == [0, 0, None]
    now = 3599.0
    assert ration.left_out() is None
    now = 3600.0
    assert ration.left_out() == 2


def test_its_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe_ration, "MOST_KEYS", 50)
    ration = Ration(1, lambda: 0.0)
    for key in range(1000):
        ration.left_out(key)
        ration.left_out(key)
    assert len(ration._told) <= 50
    assert len(ration._untold) <= 51
