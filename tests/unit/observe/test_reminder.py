"""A trouble that lasts does not fill the log, and is not forgotten in it."""

from headscale_saas.observe import Reminder

HOUR = 3600


def test_what_fails_every_five_minutes_is_said_ever_more_rarely() -> None:
    now = 0.0
    reminder = Reminder(lambda: now)
    said = []
    for now in range(0, 7 * 24 * HOUR, 300):
        if reminder.is_due():
            said.append(now / HOUR)
    assert [round(hour, 1) for hour in said[:6]] == [0, 0.2, 0.5, 1.2, 2.5, 5.2]
    assert len(said) < 20
    assert said[-1] - said[-2] == 24


def test_the_end_is_said_once_and_what_comes_then_is_new() -> None:
    now = 0.0
    reminder = Reminder(lambda: now)
    assert not reminder.ends()
    assert reminder.is_due()
    assert not reminder.is_due()
    assert reminder.ends()
    assert not reminder.ends()
    assert reminder.is_due()
