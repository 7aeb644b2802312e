"""Durations as people write them: Go's syntax (1h30m, 800ms, 1.5h) and Prometheus' (90d, 1y, 2w3d)."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from headscale_saas.errors import Invalid

SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
    "w": 7 * 86400,
    "y": 365 * 86400,
}
PART = re.compile(r"(\d{1,15}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|µs|ms|[smhdwy])")
LONGEST = timedelta(days=365 * 1000)


def parse_duration(text: object) -> timedelta:
    """`90d`, `1h30m`, `0`. Raises `Invalid` for anything else, a number without its unit included."""
    if isinstance(text, timedelta):
        return text
    wanted = str(text).strip()
    if wanted in {"0", "0.0"}:
        return timedelta()
    parts = PART.findall(wanted)
    if not parts or "".join(number + unit for number, unit in parts) != wanted:
        raise Invalid(f"{wanted!r} is not a duration: write for example 30s, 1h30m, 90d or 1y")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if seconds > LONGEST.total_seconds():
        raise Invalid(f"{wanted!r} is longer than 1000 years")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """The shortest of these words that means the same: 1y, 90d, 1h30m, 800ms."""
    left = round(duration / timedelta(microseconds=1))
    words = []
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, left = divmod(left, round(SECONDS[unit] * 1e6))
        words.append(f"{count}{unit}" if count else "")
    return "".join(words) or "0"


def _as_value_error(text: object) -> timedelta:
    try:
        return parse_duration(text)
    except Invalid as problem:
        raise ValueError(problem.message) from None


Duration = Annotated[timedelta, BeforeValidator(_as_value_error), PlainSerializer(format_duration)]
