"""HuJSON: JSON (RFC 8259) with comments and one trailing comma. From text to values with their places.

Stricter than JSON parsers often are: no member twice in an object, no byte order mark, and a `//` comment
ends with a newline. The budgets below make the time linear in the text, whatever it is.
"""

import json
import re
from typing import NoReturn

from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.language.positions import Text
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.values import Data, Number, Value

MAX_BYTES = 1 << 20
MAX_DEPTH = 100
MAX_VALUES = 50_000
MAX_NUMBER_BYTES = 100

_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"([^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+)"')
_INSIDE_STRING = re.compile(rb'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_NUMBER = re.compile(rb"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+")
_LITERAL = re.compile(rb"(?:null|true|false)")
_LITERALS: dict[bytes, Data] = {b"null": None, b"true": True, b"false": False}
_COMMENTS = {b"//": b"\n", b"/*": b"*/"}
"""What begins and what ends one."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(text: str) -> Value:
    """Reads one value. Raises PolicyError for whatever is not HuJSON or over a budget."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise PolicyError("the text is not valid UTF-8") from None
    if len(raw) > MAX_BYTES:
        raise PolicyError(f"the policy is longer than {MAX_BYTES} bytes", code="too_long")
    return _Reader(Text(raw)).whole()


def is_blank(text: str) -> bool:
    """Whether it has nothing but space and comments."""
    try:
        return not _Reader(Text(text.encode())).begins_with()
    except PolicyError:  # a comment without an end is told by `parse`
        return False


class _Reader:
    """Goes through the text once; `_at` is the offset of the next byte."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._raw = text.raw
        self._at = 0
        self._depth = 0
        self._count = 0

    def whole(self) -> Value:
        value = self._value()
        if self._next():
            self._invalid_character("after top-level value")
        return value

    def begins_with(self) -> bytes:
        """The first byte of a value, b"" if there is none."""
        return self._next()

    def _value(self) -> Value:
        first = self._next()
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._refused(f"the policy has more than {MAX_VALUES} values")
        value = Value(self._text, self._at, None)
        if first == b'"':
            value.data = self._string()
        elif first in (b"{", b"["):
            value.data = self._nested(first)
        else:
            value.data = self._scalar()
        return value

    def _nested(self, first: bytes) -> Data:
        if self._depth == MAX_DEPTH:
            raise self._refused(f"the policy is nested more than {MAX_DEPTH} deep")
        self._depth += 1
        self._at += 1
        data: Data = self._object() if first == b"{" else self._array()
        self._depth -= 1
        return data

    def _array(self) -> list[Value]:
        items: list[Value] = []
        while self._next() != b"]":
            items.append(self._value())
            self._separator(b"]", "after array value (expecting ',' or ']')")
        self._at += 1
        return items

    def _object(self) -> dict[str, Value]:
        members: dict[str, Value] = {}
        while (found := self._next()) != b"}":
            at = self._at
            if found and found != b'"':
                self._invalid_character("at start of object name")
            name = self._string()
            if name in members:
                raise self._refused(f"duplicate member name {quoted(name)}", at)
            if self._next() != b":":
                self._invalid_character("after object name")
            self._at += 1
            members[name] = member = self._value()
            member.name_at = at
            self._separator(b"}", "after object value (expecting ',' or '}')")
        self._at += 1
        return members

    def _separator(self, end: bytes, where: str) -> None:
        found = self._next()
        if found == b",":
            self._at += 1
        elif found != end:
            self._invalid_character(where)

    def _string(self) -> str:
        found = _STRING.match(self._raw, self._at)
        if not found:
            self._bad_string()
        written = found[1]
        if b"\\" not in written:
            self._at = found.end()
            return written.decode()
        try:
            string: str = json.loads(found[0].decode())
        except ValueError:
            self._bad_string()
        self._at = found.end()
        # Go replaces halves of surrogate pairs; nobody could encode them later.
        return _SURROGATE.sub("�", string)

    def _bad_string(self) -> NoReturn:
        self._need("string")
        inside = _INSIDE_STRING.match(self._raw, self._at + 1)
        assert inside
        self._at = inside.end()
        self._need("string")
        if self._raw[self._at : self._at + 1] == b"\\":
            raise self._refused("invalid escape sequence in string")
        self._invalid_character("in string (expecting non-control character)")

    def _scalar(self) -> Data:
        if literal := _LITERAL.match(self._raw, self._at):
            self._at = literal.end()
            return _LITERALS[literal[0]]
        number = _NUMBER.match(self._raw, self._at)
        if not number:
            self._invalid_character("at start of value")
        if len(number[0]) > MAX_NUMBER_BYTES:
            raise self._refused(f"the number has more than {MAX_NUMBER_BYTES} characters")
        self._at = number.end()
        return Number(number[0].decode())

    def _next(self) -> bytes:
        """Skips space and comments; the byte that follows, b"" at the end."""
        raw = self._raw
        self._at = _SPACE.match(raw, self._at).end()  # type: ignore[union-attr]
        while raw[self._at : self._at + 1] == b"/":
            self._comment()
            self._at = _SPACE.match(raw, self._at).end()  # type: ignore[union-attr]
        return raw[self._at : self._at + 1]

    def _comment(self) -> None:
        begin = self._raw[self._at : self._at + 2]
        if begin not in _COMMENTS:
            self._at += 1
            self._need("comment")
            self._invalid_character("at start of comment")
        end = _COMMENTS[begin]
        found = self._raw.find(end, self._at + 2)
        if found < 0:
            raise self._refused("parsing comment: unexpected EOF", len(self._raw))
        self._at = found + len(end)

    def _need(self, what: str) -> None:
        if self._at >= len(self._raw):
            raise self._refused(f"parsing {what}: unexpected EOF")

    def _invalid_character(self, where: str) -> NoReturn:
        self._need("value")
        character = self._raw[self._at : self._at + 4].decode(errors="ignore")[0]
        raise self._refused(f"invalid character {_rune(character)} {where}")

    def _refused(self, message: str, at: int | None = None) -> PolicyError:
        return PolicyError(message, position=self._text.position(self._at if at is None else at))


def _rune(character: str) -> str:
    return "'\\''" if character == "'" else "'" + quoted(character)[1:-1].replace('\\"', '"') + "'"
