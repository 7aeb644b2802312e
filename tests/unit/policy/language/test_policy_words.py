"""Single words of a policy: selectors, ports, protocols, durations, posture assertions."""

import pytest

from headscale_saas.policy.language.document import Assertion
from headscale_saas.policy.language.durations import HOUR, MINUTE, SECOND, format_duration, parse_duration
from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.ports import parse_ports, parse_protocol
from headscale_saas.policy.language.postures import parse_assertion
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.recognition import recognise
from headscale_saas.policy.language.selectors import ANY, MEMBER, SELF, Kind, Selector


@pytest.mark.parametrize(
    ("word", "selector"),
    [
        ("*", ANY),
        ("10.1.2.3", Selector(Kind.PREFIX, "10.1.2.3/32")),
        ("10.1.2.3/8", Selector(Kind.PREFIX, "10.0.0.0/8")),
        ("0.0.0.0/0", Selector(Kind.PREFIX, "0.0.0.0/0")),
        ("FD7A::1", Selector(Kind.PREFIX, "fd7a::1/128")),
        ("fd7a:0:0::ffff/64", Selector(Kind.PREFIX, "fd7a::/64")),
        ("::/0", Selector(Kind.PREFIX, "::/0")),
        ("alice@example.com", Selector(Kind.USER, "alice@example.com")),
        ("alice@", Selector(Kind.USER, "alice@")),
        ("user:*@example.com", Selector(Kind.DOMAIN, "example.com")),
        ("group:eng", Selector(Kind.GROUP, "group:eng")),
        ("group:eng@example.com", Selector(Kind.GROUP, "group:eng@example.com")),
        ("tag:web", Selector(Kind.TAG, "tag:web")),
        ("tag:web:22", Selector(Kind.TAG, "tag:web:22")),
        ("autogroup:self", SELF),
        ("autogroup:member", MEMBER),
        ("autogroup:members", MEMBER),
        ("ipset:prod", Selector(Kind.IPSET, "ipset:prod")),
        ("svc:db", Selector(Kind.SERVICE, "svc:db")),
        ("host:web", Selector(Kind.HOST, "web")),
        ("web-1.internal", Selector(Kind.HOST, "web-1.internal")),
        ("10", Selector(Kind.HOST, "10")),
        ("10.0.0.0/33", Selector(Kind.HOST, "10.0.0.0/33")),
        ("10.0.0.0/08", Selector(Kind.HOST, "10.0.0.0/08")),
        ("10.0.0.0/255.0.0.0", Selector(Kind.HOST, "10.0.0.0/255.0.0.0")),
        ("010.0.0.1", Selector(Kind.HOST, "010.0.0.1")),
    ],
)
def test_selectors(word: str, selector: Selector) -> None:
    assert recognise(word) == selector


@pytest.mark.parametrize(
    "word", ["", "tag:", "group:", "user:*@", "user:alice@x", "foo:bar", "::1%eth0", "fe80::1/129", ":"]
)
def test_words_that_are_no_selector(word: str) -> None:
    assert recognise(word) is None


@pytest.mark.parametrize(
    "word", ["*", "10.0.0.0/8", "fd7a::/64", "a@b", "user:*@b.c", "group:g", "tag:t", "svc:s"]
)
def test_a_selector_prints_as_it_is_written(word: str) -> None:
    assert str(recognise(word)) == word


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("*", [(0, 65535)]),
        ("22", [(22, 22)]),
        ("80-443", [(80, 443)]),
        ("0-1", [(0, 1)]),
        ("22,80-443,*", [(22, 22), (80, 443), (0, 65535)]),
        ("0080", [(80, 80)]),
        ("65535", [(65535, 65535)]),
    ],
)
def test_ports(text: str, ranges: list[tuple[int, int]]) -> None:
    assert [(one.first, one.last) for one in parse_ports(text)] == ranges


@pytest.mark.parametrize(
    "text", ["", "0", "x", "1-", "-", "1-2-3", "2-1", "65536", " 1", "1,", "+1", "\uff11", "1_0"]
)
def test_ports_that_are_none(text: str) -> None:
    with pytest.raises(Malformed, match="port range"):
        parse_ports(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("tcp", 6),
        ("TCP", 6),
        ("icmp", 1),
        ("ipv6-icmp", 58),
        ("ip-in-ip", 4),
        ("47", 47),
        ("255", 255),
    ],
)
def test_protocols(text: str, number: int | None) -> None:
    assert parse_protocol(text) == number


@pytest.mark.parametrize("text", ["*", "0", "06", "256", "-1", "1.0", "http", "\uff16"])
def test_protocols_that_are_none(text: str) -> None:
    with pytest.raises(Malformed):
        parse_protocol(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds", "printed"),
    [
        ("0", 0, "0s"),
        ("0s", 0, "0s"),
        ("+5s", 5 * SECOND, "5s"),
        ("1h30m", 90 * MINUTE, "1h30m0s"),
        ("-1m", -MINUTE, "-1m0s"),
        ("168h0m1s", 168 * HOUR + SECOND, "168h0m1s"),
        ("1.5h", 90 * MINUTE, "1h30m0s"),
        (".5s", SECOND // 2, "500ms"),
        ("1.s", SECOND, "1s"),
        ("1500us", 1_500_000, "1.5ms"),
        ("1500µs", 1_500_000, "1.5ms"),
        ("2ns", 2, "2ns"),
        ("1500ns", 1500, "1.5µs"),
        ("1m1.25s", 61_250_000_000, "1m1.25s"),
        ("100h100m", 6100 * MINUTE, "101h40m0s"),
    ],
)
def test_durations(text: str, nanoseconds: int, printed: str) -> None:
    assert parse_duration(text) == nanoseconds
    assert format_duration(nanoseconds) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        (".s", 'time: invalid duration ".s"'),
        ("1h ", 'time: unknown unit "h " in duration "1h "'),
        ("1", 'time: missing unit in duration "1"'),
        ("1h30", 'time: missing unit in duration "1h30"'),
        ("1H", 'time: unknown unit "H" in duration "1H"'),
        ('1"', 'time: unknown unit "\\"" in duration "1\\""'),
        ("1ч", 'time: unknown unit "\\xd1\\x87" in duration "1\\xd1\\x87"'),
        ("9223372037s", 'time: invalid duration "9223372037s"'),
    ],
)
def test_durations_that_are_none(text: str, message: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_duration(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "assertion"),
    [
        ("node:os == 'macos'", Assertion("node:os", "==", ("macos",))),
        ("node:os!='ios'", Assertion("node:os", "!=", ("ios",))),
        ("node:os in ['macos', 'linux']", Assertion("node:os", "IN", ("macos", "linux"))),
        ("ip:country NOT  IN ['CU','KP']", Assertion("ip:country", "NOT IN", ("CU", "KP"))),
        ("node:tsVersion >= '1.40.0'", Assertion("node:tsVersion", ">=", ("1.40.0",))),
        ("custom:score < 3.5", Assertion("custom:score", "<", (3.5,))),
        ("custom:score == -2", Assertion("custom:score", "==", (-2.0,))),
        ("node:tsAutoUpdate == TRUE", Assertion("node:tsAutoUpdate", "==", (True,))),
        ("custom:tier is set", Assertion("custom:tier", "IS SET")),
        (" intune:isEncrypted NOT SET ", Assertion("intune:isEncrypted", "NOT SET")),
        ("custom:x == 'a, ] b'", Assertion("custom:x", "==", ("a, ] b",))),
    ],
)
def test_assertions(text: str, assertion: Assertion) -> None:
    assert parse_assertion(text) == assertion


@pytest.mark.parametrize(
    "text",
    [
        "",
        "node:os",
        "== 'x'",
        "os == 'x'",
        "node:os = 'x'",
        "node:os == 'x",
        "node:os IN ['a',]",
        "custom:x == 1x",
    ],
)
def test_assertions_that_are_none(text: str) -> None:
    with pytest.raises(Malformed, match="posture assertion"):
        parse_assertion(text)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("tag:сервер", '"tag:сервер"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\n\x01\x7f", '"\\n\\x01\\x7f"'),
        ("\u00a0\U000e0001", '"\\u00a0\\U000e0001"'),
        ("x" * 300, '"' + "x" * 200 + '…"'),
    ],
)
def test_quoting(word: str, shown: str) -> None:
    assert quoted(word) == shown
