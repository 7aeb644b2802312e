from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.config import format_duration, parse_duration
from headscale_saas.errors import Invalid


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1.5h", timedelta(minutes=90)),
        ("800ms", timedelta(milliseconds=800)),
        ("2w3d", timedelta(days=17)),
        ("90d", timedelta(days=90)),
        ("1y", timedelta(days=365)),
        ("0", timedelta()),
        (0, timedelta()),
        (timedelta(seconds=5), timedelta(seconds=5)),
    ],
)
def test_both_syntaxes_are_read(text: object, meant: timedelta) -> None:
    assert parse_duration(text) == meant


@pytest.mark.parametrize(
    "text", ["", "5", 5, "1 h", "-1h", "h", "1h30", "forever", "9999999999y", "1e5s", None]
)
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(Invalid):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=9999)))
def test_what_is_written_reads_back_the_same(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration
