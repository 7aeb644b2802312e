"""Tags have one form; a client may shorten the life of its key, never extend it."""

from datetime import UTC, datetime, timedelta

import pytest

from headscale_saas.errors import Invalid
from headscale_saas.tailnet import expiry, tags

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_tags_are_sorted_and_appear_once():
    assert tags.checked(["tag:b", "tag:a", "tag:b"]) == ("tag:a", "tag:b")


@pytest.mark.parametrize("tag", ["tag:", "web", "tag:1a", "tag:Web", "tag:a b", "tag:ä", "tag:" + "a" * 200])
def test_what_is_no_tag(tag: str):
    with pytest.raises(Invalid, match="tag must"):
        tags.checked([tag])


def test_many_tags_are_refused():
    with pytest.raises(Invalid, match="too many"):
        tags.checked(f"tag:a{number}" for number in range(10_000))


def test_refused_tags_are_named():
    assert str(tags.refusal(["tag:x"])) == "requested tags [tag:x] are invalid or not permitted"


def test_a_second_in_1970_is_a_logout():
    assert expiry.is_logout(datetime(1970, 1, 1, 0, 2, 3, tzinfo=UTC), NOW)
    assert not expiry.is_logout(None, NOW)
    assert not expiry.is_logout(NOW + HOUR, NOW)


def test_user_owned_nodes_have_the_default_lifetime_and_tagged_ones_none():
    assert expiry.first(None, HOUR, is_tagged=False, now=NOW) == NOW + HOUR
    assert expiry.first(None, HOUR, is_tagged=True, now=NOW) is None
    assert expiry.first(None, None, is_tagged=False, now=NOW) is None


def test_a_wish_can_only_shorten():
    assert expiry.first(NOW + HOUR / 2, HOUR, is_tagged=False, now=NOW) == NOW + HOUR / 2
    assert expiry.first(NOW + 2 * HOUR, HOUR, is_tagged=False, now=NOW) == NOW + HOUR
    assert expiry.first(datetime(9999, 12, 31, tzinfo=UTC), None, is_tagged=False, now=NOW) is None


def test_the_life_of_a_key_can_be_shortened_later():
    assert expiry.shortened(NOW + HOUR, NOW + HOUR / 2, NOW) == NOW + HOUR / 2
    assert expiry.shortened(None, NOW + HOUR, NOW) == NOW + HOUR
    assert expiry.shortened(NOW + HOUR, None, NOW) == NOW + HOUR


def test_the_life_of_a_key_cannot_be_extended():
    with pytest.raises(Invalid, match="extending key is not allowed"):
        expiry.shortened(NOW + HOUR, NOW + 2 * HOUR, NOW)
    with pytest.raises(Invalid, match="extending key is not allowed"):
        expiry.shortened(NOW + HOUR, datetime(9998, 1, 1, tzinfo=UTC), NOW)
