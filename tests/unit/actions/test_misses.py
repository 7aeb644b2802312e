"""A stranger who tries auth keys does not fill the log."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from headscale_saas.actions.misses import LINES_PER_MINUTE, Misses
from headscale_saas.tailcfg.keys import MachineKey


@pytest.fixture
def everything_is_logged() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("everything_is_logged")
def test_a_flood_is_a_few_lines_a_minute() -> None:
    now = 0.0
    misses = Misses(lambda: now)
    with capture_logs() as lines:
        for _ in range(1000):
            misses.note(MachineKey(b"m" * 32), "192.0.2.1")
        assert len(lines) == LINES_PER_MINUTE
        now = 60.0
        misses.note(MachineKey(b"m" * 32), "192.0.2.1")
    assert lines[-1]["left_out"] == 1000 - LINES_PER_MINUTE
