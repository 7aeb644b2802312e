"""A megabyte of anything is read or refused in about a second, and never ends in a Python error."""

import time
from collections.abc import Callable

import pytest

from headscale_saas.policy.language import PolicyError, hujson, parse
from headscale_saas.policy.language.ports import MAX_RANGES

BOUND_SECONDS = 10
"""Each takes well below one; what is not linear in the text takes minutes."""

LONG = 900_000


def filled(head: str, unit: str, tail: str = "") -> str:
    return head + unit * ((hujson.MAX_BYTES - len(head) - len(tail)) // len(unit)) + tail


def many(head: str, item: Callable[[int], str], tail: str) -> str:
    """As many different items as the budgets of bytes and values allow."""
    room = min(hujson.MAX_BYTES // (len(item(49_999)) + 1), hujson.MAX_VALUES // (1 + item(0).count(":[")))
    return head + ",".join(item(number) for number in range(room - 50)) + tail


def rule(*, src: str = "", dst: str = "", proto: str = "") -> str:
    return '{"acls":[{"action":"accept","src":[' + src + '],"dst":[' + dst + '],"proto":"' + proto + '"}]}'


def posture(assertion: str) -> str:
    return '{"postures":{"posture:x":["' + assertion + '"]}}'


def ssh(members: str) -> str:
    return '{"ssh":[{"action":"check","users":["x"],' + members + "}]}"


def refused(text: str) -> PolicyError | None:
    start = time.perf_counter()
    try:
        parse(text)
    except PolicyError as error:
        return error
    finally:
        assert time.perf_counter() - start < BOUND_SECONDS
    return None


REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "arrays": (lambda: "[" * hujson.MAX_BYTES, "nested more than 100 deep"),
    "objects": (lambda: filled("", '{"a":'), "nested more than 100 deep"),
    "values": (lambda: filled('{"acls":[', "0,"), "more than 50000 values"),
    "bytes": (lambda: " " * (hujson.MAX_BYTES + 1), "longer than 1048576 bytes"),
    "letters": (lambda: "ж" * (hujson.MAX_BYTES // 2 + 1), "longer than 1048576 bytes"),
    "number": (lambda: '{"acls":' + "1" * 101, "more than 100 characters"),
    "comment": (lambda: filled("/*", "x"), "parsing comment: unexpected EOF"),
    "line comment": (lambda: filled("//", "//"), "parsing comment: unexpected EOF"),
    "escapes": (lambda: filled('{"', "\\n", '\\x":1}'), "invalid escape sequence"),
    "backslashes": (lambda: filled('"', "\\"), "invalid escape sequence in string"),
    "colons": (lambda: rule(src='"' + ":" * LONG + '"'), "invalid address"),
    "address": (lambda: rule(src='"' + "1." * (LONG // 2) + '"'), "host not defined"),
    "port": (lambda: rule(dst='"*:' + "0" * LONG + '"'), "first port must be >0"),
    "ports": (lambda: rule(dst='"*:' + "1," * MAX_RANGES + '1"'), "more than 256 port ranges"),
    "protocol": (lambda: rule(proto="9" * LONG), "protocol number out of range"),
    "period": (lambda: ssh('"checkPeriod":"' + "1" * LONG + 'h"'), "time: invalid duration"),
    "attribute": (lambda: posture("b" * LONG), "posture assertion"),
    "blanks": (lambda: posture("a:b == " + " " * 4000 + "x"), "posture assertion"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_in_time(name: str) -> None:
    text, message = REFUSED[name]
    error = refused(text())
    assert error is not None
    assert message in error.message
    assert len(error.message) < 2000


READ: dict[str, Callable[[], str]] = {
    "comments": lambda: filled("", "/**/", "{}"),
    "line comments": lambda: filled("", "//\n", "{}"),
    "lines": lambda: filled("", "\n", "{}"),
    "escapes": lambda: '{"groups":{"group:x":["' + "\\n" * (LONG // 2) + '@"]}}',
    "ipv6": lambda: many('{"grants":[{"ip":["*"],"src":[', lambda i: f'"fd00::{i:x}"', "]}]}"),
    "ipv4": lambda: many('{"grants":[{"ip":["*"],"dst":[', lambda i: f'"10.{i >> 8}.{i & 255}.0/24"', "]}]}"),
    "targets": lambda: rule(dst=many("", lambda i: f'"*:{i + 1}"', "")),
    "port lists": lambda: rule(dst=many("", lambda i: '"*:' + "1," * 255 + '1"', "")),
    "logins": lambda: many('{"groups":{"group:x":[', lambda i: f'"a{i}@b"', "]}}"),
    "tags": lambda: many('{"tagOwners":{', lambda i: f'"tag:a{i}":["tag:a0"]', "}}"),
    "ipsets": lambda: many('{"ipsets":{"ipset:0":[],', lambda i: f'"ipset:{i + 1}":["ipset:{i}"]', "}}"),
    "ssh pairs": lambda: ssh('"src":[' + '"a@b",' * 24_000 + '],"dst":[' + '"a@b",' * 24_000 + "]"),
    "countries": lambda: many(
        '{"postures":{"posture:x":[', lambda i: '"a:b IN [' + "'x'," * 990 + "'x']\"", "]}}"
    ),
    "postures": lambda: many('{"postures":{"posture:x":[', lambda i: '"a:b==' + " " * 4000 + "'x'\"", "]}}"),
}


@pytest.mark.parametrize("name", READ)
def test_reads_in_time(name: str) -> None:
    assert refused(READ[name]()) is None


def test_what_is_nested_as_deep_as_may_be_is_read() -> None:
    def nested(depth: int) -> str:
        argument = "[" * depth + "]" * depth
        return '{"grants":[{"app":{"example.com/cap":[' + argument + "]}}]}"

    around = 5
    assert parse(nested(hujson.MAX_DEPTH - around)).grants
    with pytest.raises(PolicyError, match="nested"):
        parse(nested(hujson.MAX_DEPTH - around + 1))
