"""Words in messages, quoted as Go does it: the messages are compared with those of Go programs."""

_SHORT = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
MOST = 200
"""Characters of the input that a message repeats."""


def quoted(word: str) -> str:
    """As `strconv.Quote`, but what is very long is cut."""
    if len(word) > MOST:
        word = word[:MOST] + "…"
    if word.isprintable() and '"' not in word and "\\" not in word:
        return f'"{word}"'
    return '"' + "".join(_character(one) for one in word) + '"'


def _character(one: str) -> str:
    if one in _SHORT:
        return _SHORT[one]
    if one.isprintable():
        return one
    code = ord(one)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
