"""Secrets out, control characters escaped, lengths bounded: for every value of every log line.

Public keys (`nodekey:`, `mkey:`, `discokey:`) stay: operators need them.
"""

import re
from collections.abc import Mapping

MASK = "…"
MOST_CHARACTERS = 2048
MOST_TRACEBACK_CHARACTERS = 16384
MOST_ITEMS = 64
MOST_DEPTH = 4

SECRET_NAMES = frozenset(
    (
        "authorization",
        "proxy_authorization",
        "cookie",
        "set_cookie",
        "password",
        "passwd",
        "pass",
        "secret",
        "client_secret",
        "token",
        "access_token",
        "refresh_token",
        "id_token",
        "api_key",
        "x_api_key",
        "auth_key",
        "private_key",
        "dsn",
    )
)
"""Values under these names are never shown, whatever they look like."""

PATTERNS = [
    # The kind stays (hskey-auth, tskey-api), so that one can see what was used.
    (re.compile(r"((?:hs|ts)key(?:-[a-z]{1,12})?)-[\w.-]+"), rf"\1-{MASK}"),
    (re.compile(r"(priv(?:ate)?key:)[0-9a-zA-Z]+"), rf"\1{MASK}"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.I), rf"\1 {MASK}"),
    (re.compile(r"\b((?:proxy-)?authorization|(?:set-)?cookie)(\W{1,4}).*", re.I), rf"\1\2{MASK}"),
    (re.compile(r"(\b[a-z][a-z0-9+]*://[^\s:/@]*:)[^\s@/]+@"), rf"\1{MASK}@"),
    (re.compile(r"\b(password|client_secret|access_token|refresh_token)=[^\s&]+", re.I), rf"\1={MASK}"),
]
MAY_HOLD_SECRET = re.compile(r"key|bearer|basic|authorization|cookie|://|password|secret|token", re.I)
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 controls, line separators, bidirectional overrides, lone surrogates."""


def redact_text(text: str) -> str:
    if not MAY_HOLD_SECRET.search(text):
        return text
    for pattern, instead in PATTERNS:
        text = pattern.sub(instead, text)
    return text


def escape(text: str) -> str:
    r"""A newline becomes the two characters `\n`: nobody outside can begin a line of ours."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def cut(text: str, most: int = MOST_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[:most]}{MASK} ({len(text)} characters)"


def safe_text(text: str) -> str:
    """Cut generously first, so that the patterns have a bound too; cut to length last."""
    return cut(escape(redact_text(text[: 4 * MOST_CHARACTERS])))


def safe(value: object, depth: int = 0) -> object:
    """The value as it may be logged. Numbers, booleans and None stay; objects become their text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < MOST_DEPTH and isinstance(value, Mapping):
        return safe_mapping(value, depth + 1)
    if depth < MOST_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [safe(item, depth + 1) for item in list(value)[:MOST_ITEMS]]
    return safe_text(value if isinstance(value, str) else str(value))


def safe_mapping(values: Mapping[object, object], depth: int = 0) -> dict[str, object]:
    chosen = list(values.items())[:MOST_ITEMS]
    return {
        safe_text(str(name)): MASK if is_secret_name(name) and value else safe(value, depth)
        for name, value in chosen
    }


def is_secret_name(name: object) -> bool:
    return str(name).lower().replace("-", "_") in SECRET_NAMES


def safe_traceback(text: str) -> str:
    """Keeps its lines, each indented, so that none can pass for a line of the log."""
    lines = cut(text, MOST_TRACEBACK_CHARACTERS).splitlines()
    return "\n".join("  " + escape(redact_text(line)) for line in lines)
