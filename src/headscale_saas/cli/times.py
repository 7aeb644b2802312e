"""Durations and moments as flags give them."""

from datetime import UTC, datetime

from headscale_saas.errors import Invalid


def after(now: datetime, duration: str) -> datetime:
    """The moment so long after now: `24h`, `90d`. Raises Invalid."""
    from headscale_saas.config.durations import parse_duration  # noqa: PLC0415 - not for `--help`

    try:
        return now + parse_duration(duration)
    except Invalid as problem:
        raise Invalid(f"parsing duration: {problem.message}", field="expiration") from None
    except OverflowError:
        raise Invalid(f'parsing duration: "{duration}" is too long', field="expiration") from None


def moment_of(text: str) -> datetime:
    """RFC 3339, with its offset: `2030-01-02T15:04:05Z`. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f'parsing expiry: "{text}" is not a time such as 2030-01-02T15:04:05Z') from None
    if moment.tzinfo is None:
        raise Invalid(f'parsing expiry: "{text}" needs an offset, or Z for UTC')
    return moment.astimezone(UTC)
