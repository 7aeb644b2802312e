"""Durations as Go reads and prints them (`time/format.go:ParseDuration`, `time/time.go:Duration.String`)."""

import re

from headscale_saas.policy.language.errors import Malformed

_MICROSECOND = 1_000
_MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

_UNITS = {"ns": 1, "us": _MICROSECOND, "µs": _MICROSECOND, "μs": _MICROSECOND, "ms": _MILLISECOND}
_UNITS |= {"s": SECOND, "m": MINUTE, "h": HOUR}

_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_MOST = (1 << 63) - 1
_MAX_LENGTH = 100


def parse_duration(text: str) -> int:
    """`1h30m`, `-1.5s`, `0` … in nanoseconds. Raises Malformed with Go's words."""
    unsigned = text[1:] if text[:1] in ("-", "+") else text
    if unsigned == "0":
        return 0
    if not unsigned or len(text) > _MAX_LENGTH:
        raise Malformed(f"time: invalid duration {_quoted(text)}")
    total = _sum(text, unsigned)
    if total > _MOST:
        raise Malformed(f"time: invalid duration {_quoted(text)}")
    return -total if text[0] == "-" else total


def _sum(text: str, unsigned: str) -> int:
    total, at = 0, 0
    while at < len(unsigned):
        term = _TERM.match(unsigned, at)
        assert term
        total += _nanoseconds(text, *term.groups(default=""))
        at = term.end()
    return total


def _nanoseconds(text: str, whole: str, fraction: str, unit: str) -> int:
    if not whole and not fraction:
        raise Malformed(f"time: invalid duration {_quoted(text)}")
    if not unit:
        raise Malformed(f"time: missing unit in duration {_quoted(text)}")
    if unit not in _UNITS:
        raise Malformed(f"time: unknown unit {_quoted(unit)} in duration {_quoted(text)}")
    size = _UNITS[unit]
    part: int = int(fraction or "0") * size // 10 ** len(fraction)
    return int(whole or "0") * size + part


def format_duration(nanoseconds: int) -> str:
    """`1h30m0s`, `-1m0s`, `1.5s`, `300ms`, `0s`."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    if nanoseconds < SECOND:
        return _below_a_second(nanoseconds)
    minutes, rest = divmod(nanoseconds, MINUTE)
    seconds = _decimal(rest, SECOND) + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _below_a_second(nanoseconds: int) -> str:
    for unit, size in (("ms", _MILLISECOND), ("µs", _MICROSECOND), ("ns", 1)):
        if nanoseconds >= size:
            return _decimal(nanoseconds, size) + unit
    return "0s"


def _decimal(amount: int, size: int) -> str:
    whole, rest = divmod(amount, size)
    digits = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def _quoted(text: str) -> str:
    """The package `time` has a way of quoting of its own: bytes that are not printable ASCII as `\\xNN`."""
    return '"' + "".join(_shown(one) for one in text[:_MAX_LENGTH]) + '"'


def _shown(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    if " " <= one < "\x7f":
        return one
    return "".join(f"\\x{byte:02x}" for byte in one.encode())
