"""What anybody can cause is told so many times a minute, and nobody's flood hides another's first."""

from headscale_saas.observe import Ration


def test_a_flood_is_told_a_few_times_and_then_its_size() -> None:
    now = 0.0
    ration = Ration(100, lambda: now)
    assert [ration.left_out("acme") for _ in range(1000)] == [0] * 100 + [None] * 900
    assert ration.left_out("other") == 0
    now = 60.0
    assert ration.left_out("acme") == 900
    assert ration.left_out("acme") == 0
