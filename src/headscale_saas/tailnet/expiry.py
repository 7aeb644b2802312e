"""When a node's key expires. A client may shorten the life of its key, never extend it."""

from datetime import datetime, timedelta

from headscale_saas.errors import Invalid

FAR = timedelta(days=36_500)
"""A wish beyond it is no wish: it would only overflow somewhere."""


def is_logout(wish: datetime | None, now: datetime) -> bool:
    """Clients log out by an expiry in the past (they send the second 123 of 1970)."""
    return wish is not None and wish <= now


def first(
    wish: datetime | None, lifetime: timedelta | None, *, is_tagged: bool, now: datetime
) -> datetime | None:
    """The expiry of a key that was just authorised; None is never.

    `lifetime` is the tailnet's default; tagged nodes have none.
    """
    limit = None if is_tagged or lifetime is None else now + lifetime
    return _earliest(limit, _bounded(wish, now))


def shortened(expires_at: datetime | None, wish: datetime | None, now: datetime) -> datetime | None:
    """The expiry after a client's wish for a key that is authorised. Raises Invalid for an extension."""
    if wish is not None and expires_at is not None and wish > expires_at:
        raise Invalid("extending key is not allowed", field="Expiry")
    return _bounded(wish, now) or expires_at


def _bounded(wish: datetime | None, now: datetime) -> datetime | None:
    if wish is None or wish - now > FAR:
        return None
    return max(wish, now)


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
