"""A tailnet that cannot be served is in the log, and does not fill it."""

from structlog.testing import capture_logs

from headscale_saas.errors import NotFound, Unavailable
from headscale_saas.live import troubles
from headscale_saas.live.troubles import Troubles
from headscale_saas.tailnet.model import TailnetId

ACME, BETA = TailnetId(1), TailnetId(2)


def test_each_trouble_is_told_once_until_it_changes_or_ends() -> None:
    known = Troubles()
    with capture_logs() as lines:
        for _ in range(100):
            known.begin(ACME, Unavailable("the policy is not understood"))
            known.begin(BETA, Unavailable("the policy is not understood"))
        known.begin(ACME, Unavailable("a row cannot be read"))
        known.end(ACME)
        known.end(ACME)
        known.begin(ACME, Unavailable("a row cannot be read"))
    told = [(line["event"], line["tailnet"], line.get("reason", "")) for line in lines]
    assert told == [
        ("tailnet_not_served", ACME, "the policy is not understood"),
        ("tailnet_not_served", BETA, "the policy is not understood"),
        ("tailnet_not_served", ACME, "a row cannot be read"),
        ("tailnet_served_again", ACME, ""),
        ("tailnet_not_served", ACME, "a row cannot be read"),
    ]


def test_one_that_is_deleted_is_no_trouble_any_more() -> None:
    known = Troubles()
    with capture_logs() as lines:
        known.begin(ACME, Unavailable("the policy is not understood"))
        known.begin(ACME, NotFound("there is no such tailnet"))
        known.end(ACME)
    assert [line["event"] for line in lines if line["log_level"] != "info"] == ["tailnet_not_served"]


def test_they_are_not_remembered_without_bound() -> None:
    known = Troubles()
    with capture_logs() as lines:
        for number in range(troubles.MOST + 1):
            known.begin(TailnetId(number), Unavailable("x"))
        known.begin(TailnetId(0), Unavailable("x"))
    assert len(lines) == troubles.MOST + 2
    assert len(known._known) == troubles.MOST
