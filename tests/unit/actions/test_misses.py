"""A stranger who tries auth keys fills neither the log nor a tailnet's audit log."""

from structlog.testing import capture_logs

from headscale_saas.actions.misses import LINES_PER_MINUTE, ROWS_PER_MINUTE, Misses, Refusals
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


def test_a_flood_is_a_bounded_number_of_audit_rows_and_says_its_size() -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    said = [refusals.left_out("acme") for _ in range(1000)]
    assert said == [0] * ROWS_PER_MINUTE + [None] * (1000 - ROWS_PER_MINUTE)
    assert refusals.left_out("other") == 0
    now = 60.0
    assert refusals.left_out("acme") == 1000 - ROWS_PER_MINUTE
    assert refusals.left_out("acme") == 0
