"""HuJSON by example: what it adds to JSON, what it refuses, and where it says the fault is."""

import pytest

from headscale_saas.policy.language import PolicyError, hujson
from headscale_saas.policy.language.positions import Position
from headscale_saas.policy.language.values import Value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        (" true ", True),
        ("\r\n\tfalse", False),
        ("[]", []),
        ("{}", {}),
        ("[1,]", [1]),
        ('{"a": 1,}', {"a": 1}),
        ("[1 /* one */, // and\n 2 // two\n]", [1, 2]),
        ("// first\n{} // last\n", {}),
        ("/**/{/* a */}/***/", {}),
        ("/* no /* nesting */ 1", 1),
        ('"//"', "//"),
        ('"/* */"', "/* */"),
        ('["a\\"b", "\\\\", "\\/\\b\\f\\n\\r\\t"]', ['a"b', "\\", "/\b\f\n\r\t"]),
        ('"\\u00e9\\ud83d\\ude00"', "é😀"),
        ('"\\ud800x\\u0000"', "�x\0"),
        ('"тег"', "тег"),
        ("[0, -0, 1.5, -2e3, 1E+2, 10]", [0, 0, 1.5, -2000.0, 100.0, 10]),
        ('{"A": 1, "a": 2}', {"A": 1, "a": 2}),
    ],
)
def test_reads(text: str, value: object) -> None:
    assert hujson.parse(text).plain() == value


# The place at fault is marked with ▶.
REFUSED = [
    ("▶", "parsing value: unexpected EOF"),
    ("  \n▶", "parsing value: unexpected EOF"),
    ("[1▶", "parsing value: unexpected EOF"),
    ('{"a"▶', "parsing value: unexpected EOF"),
    ('{"a":▶', "parsing value: unexpected EOF"),
    ('{"a": 1▶', "parsing value: unexpected EOF"),
    ("{▶", "parsing string: unexpected EOF"),
    ('"abc▶', "parsing string: unexpected EOF"),
    ("{} // at the end▶", "parsing comment: unexpected EOF"),
    ("{} /* at the end *▶", "parsing comment: unexpected EOF"),
    ("{} /▶", "parsing comment: unexpected EOF"),
    ("/▶x", "invalid character 'x' at start of comment"),
    ("[▶,]", "invalid character ',' at start of value"),
    ("{▶,}", "invalid character ',' at start of object name"),
    ("[1,▶,]", "invalid character ',' at start of value"),
    ('{"a": ▶}', "invalid character '}' at start of value"),
    ('{"a" ▶x', "invalid character 'x' after object name"),
    ('{"a": 1 ▶"b": 2}', "invalid character '\"' after object value (expecting ',' or '}')"),
    ("[1 ▶2]", "invalid character '2' after array value (expecting ',' or ']')"),
    ("[1▶}", "invalid character '}' after array value (expecting ',' or ']')"),
    ("{} ▶{}", "invalid character '{' after top-level value"),
    ("▶'a'", "invalid character '\\'' at start of value"),
    ("{▶a: 1}", "invalid character 'a' at start of object name"),
    ("▶NaN", "invalid character 'N' at start of value"),
    ("[▶-Infinity]", "invalid character '-' at start of value"),
    ("▶+1", "invalid character '+' at start of value"),
    ("▶.5", "invalid character '.' at start of value"),
    ("0▶x10", "invalid character 'x' after top-level value"),
    ("0▶1", "invalid character '1' after top-level value"),
    ("1▶.", "invalid character '.' after top-level value"),
    ("▶nul", "invalid character 'n' at start of value"),
    ("▶\ufeff{}", "invalid character '\\ufeff' at start of value"),
    ("▶\u00a0{}", "invalid character '\\u00a0' at start of value"),
    ('"a▶\n"', "invalid character '\\n' in string (expecting non-control character)"),
    ('"a▶\0"', "invalid character '\\x00' in string (expecting non-control character)"),
    ('"ж▶\\x41"', "invalid escape sequence in string"),
    ('"▶\\u12g4"', "invalid escape sequence in string"),
    ('{"a": 1, ▶"a": 2}', 'duplicate member name "a"'),
    ('{"a": 1, ▶"\\u0061": 2}', 'duplicate member name "a"'),
]


@pytest.mark.parametrize(("marked", "message"), REFUSED)
def test_says_what_is_wrong_and_where(marked: str, message: str) -> None:
    before, _, after = marked.partition("▶")
    with pytest.raises(PolicyError) as caught:
        hujson.parse(before + after)
    line = before.count("\n") + 1
    column = len(before.rpartition("\n")[2].encode()) + 1
    assert caught.value.message == message
    assert caught.value.position == Position(line, column)
    assert str(caught.value) == f"line {line}, column {column}: {message}"


def test_every_value_and_name_knows_its_place() -> None:
    root = hujson.parse('{\n  "ключ": [1,\r\n   {"b": null}]}')
    assert isinstance(root.data, dict)
    listed = root.data["ключ"]
    assert isinstance(listed.data, list)
    inner = listed.data[1]
    assert isinstance(inner.data, dict)
    assert [place(one) for one in (root, listed, *listed.data, inner.data["b"])] == [
        (1, 1), (2, 15), (2, 16), (3, 4), (3, 10),
    ]  # fmt: skip
    assert listed.name_refused("x").position == Position(2, 3)


def place(value: Value) -> tuple[int, int]:
    return value.position.line, value.position.column


@pytest.mark.parametrize("literal", ["0", "-7", "1.5", "9223372036854775807"])
def test_a_number_that_is_written_alike_stays_a_number(literal: str) -> None:
    (number,) = numbers(f"[{literal}]")
    assert not isinstance(number.verbatim(), bytes)
    assert str(number.verbatim()) == literal


@pytest.mark.parametrize("literal", ["-0", "1e2", "1.50", "1e999", "9" * 40, "0.10000000000000000555"])
def test_a_number_that_would_change_is_kept_as_written(literal: str) -> None:
    (number,) = numbers(f"[{literal}]")
    assert bytes(number.verbatim()) == literal.encode()


def numbers(text: str) -> list[hujson.Number]:
    data = hujson.parse(text).data
    assert isinstance(data, list)
    return [item.data for item in data if isinstance(item.data, hujson.Number)]


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(PolicyError, match="not valid UTF-8"):
        hujson.parse('"\ud800"')


@pytest.mark.parametrize("text", ["", " \r\n\t", "// one\n/* two */"])
def test_space_and_comments_are_blank(text: str) -> None:
    assert hujson.is_blank(text)


@pytest.mark.parametrize("text", ["{}", "// one\n0", "/* one", "// one", "/", "\ufeff"])
def test_what_says_something_or_has_no_end_is_not_blank(text: str) -> None:
    assert not hujson.is_blank(text)
