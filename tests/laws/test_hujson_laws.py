"""HuJSON is JSON and a little more: whatever JSON can say survives, and what is added changes nothing."""

import json
from collections.abc import Callable
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.policy.language import PolicyError, hujson, parse

CHARACTERS = st.characters(exclude_categories=["Cs"])
WORDS = st.text(CHARACTERS, max_size=10)
NUMBERS = st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)
SPACES = st.sampled_from(
    ["", " ", "\n", "\t\r\n", "/**/", '/* , ] } " // */', "// : [ { /*\n", "/*ж*/ //\n "]
)


@given(VALUES, st.booleans())
def test_what_json_says_survives(value: object, is_ascii: bool) -> None:
    assert hujson.parse(json.dumps(value, ensure_ascii=is_ascii)).plain() == value


@given(VALUES, st.data())
def test_comments_and_trailing_commas_change_nothing(value: object, data: st.DataObject) -> None:
    assert hujson.parse(decorated(value, data)).plain() == value


def decorated(value: object, data: st.DataObject) -> str:
    """The value with random space between its tokens and random trailing commas."""

    def space() -> str:
        return data.draw(SPACES)

    def listed(parts: list[str]) -> str:
        comma = data.draw(st.sampled_from(["", ","])) if parts else ""
        return ",".join(parts) + comma + space()

    if isinstance(value, list):
        return f"{space()}[{listed([decorated(item, data) for item in value])}]{space()}"
    if isinstance(value, dict):
        members = [
            f"{space()}{json.dumps(name)}{space()}:{decorated(item, data)}" for name, item in value.items()
        ]
        return f"{space()}{{{listed(members)}}}{space()}"
    return f"{space()}{json.dumps(value)}{space()}"


TOKENS = st.text(st.sampled_from('[]{}",:/*\\ \n\ud80001eE+-.truefalsn'))
BYTES = st.binary().map(lambda raw: raw.decode(errors="surrogateescape"))


@given(st.text() | TOKENS | BYTES)
def test_any_text_is_read_or_refused(text: str) -> None:
    assert all(is_read_or_refused(read, text) for read in (hujson.parse, parse))


def is_read_or_refused(read: Callable[[str], object], text: str) -> bool:
    """Whatever else is raised fails the test."""
    with suppress(PolicyError):
        read(text)
    return True
