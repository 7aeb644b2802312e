"""A stranger who tries auth keys does not fill the log."""

from structlog.testing import capture_logs

from headscale_saas.actions.misses import LINES_PER_MINUTE, Misses
from headscale_saas.tailcfg.keys import MachineKey


def test_a_flood_is_a_few_lines_a_minute() -> None:
    now = 0.0
    misses = Misses(lambda: now)
    with capture_logs() as lines:
        for _ in range(1000):
            misses.note(MachineKey(b"m" * 32), "192.0.2.1")
        assert misses.unsaid == 1000 - LINES_PER_MINUTE
        now = 60.0
        misses.note(MachineKey(b"m" * 32), "192.0.2.1")
    assert misses.unsaid == 0
    # How much of it is written depends on the level; never more than the limit and the line that sums up.
    assert len(lines) <= LINES_PER_MINUTE + 1
