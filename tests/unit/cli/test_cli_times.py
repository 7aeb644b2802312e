from datetime import UTC, datetime, timedelta

import pytest

from headscale_saas.cli.times import after, moment_of
from headscale_saas.errors import Invalid

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("24h", timedelta(hours=24)),
        ("90d", timedelta(days=90)),
        ("1h30m", timedelta(minutes=90)),
        ("1y", timedelta(days=365)),
        ("2w", timedelta(days=14)),
        ("0", timedelta()),
    ],
)
def test_durations_have_the_units_of_prometheus(text: str, length: timedelta) -> None:
    assert after(NOON, text) == NOON + length


@pytest.mark.parametrize("text", ["", "soon", "1", "-1h", "1h 30m", "9999999y"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="parsing duration"):
        after(NOON, text)


@pytest.mark.parametrize("text", ["2030-01-02T15:04:05Z", "2030-01-02T17:04:05+02:00"])
def test_moments_are_rfc_3339(text: str) -> None:
    assert moment_of(text) == datetime(2030, 1, 2, 15, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["tomorrow", "2030-01-02T15:04:05", "2030-01-02", ""])
def test_other_moments_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="parsing expiry"):
        moment_of(text)
