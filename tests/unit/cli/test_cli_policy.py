"""`policy`: how ends are read and verdicts told."""

import pytest

from headscale_saas.cli.messages import PolicyReason, PolicyVerdict
from headscale_saas.cli.output import lines_of
from headscale_saas.cli.policy import target_of, told
from headscale_saas.errors import Invalid


@pytest.mark.parametrize(
    ("word", "host", "port"),
    [
        ("web:22", "web", 22),
        ("web", "web", 0),
        ("tag:web", "tag:web", 0),
        ("tag:web:443", "tag:web", 443),
        ("alice@example.com:1", "alice@example.com", 1),
        ("100.64.0.1:65535", "100.64.0.1", 65535),
        ("fd7a:115c:a1e0::53", "fd7a:115c:a1e0::53", 0),
        ("fd7a:115c:a1e0::", "fd7a:115c:a1e0::", 0),
        ("[fd7a:115c:a1e0::53]:53", "fd7a:115c:a1e0::53", 53),
        (":22", ":22", 0),
        ("web:²", "web:²", 0),
    ],
)
def test_the_port_is_what_follows_the_last_colon(word: str, host: str, port: int) -> None:
    assert target_of(word) == (host, port)


@pytest.mark.parametrize("word", ["web:65536", f"web:{'9' * 5000}"])
def test_a_port_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(Invalid, match="out of range"):
        target_of(word)


@pytest.mark.parametrize(("word", "example"), [("web:*", "web:443"), ("tag:web:", "tag:web:443")])
def test_all_ports_are_not_the_name_of_the_destination(word: str, example: str) -> None:
    with pytest.raises(Invalid, match=f"one port, as in {example}"):
        target_of(word)


def test_a_verdict_names_its_rules_and_their_places() -> None:
    rule = PolicyReason(text="alice@ -> tag:web: 22", line=4, column=9)
    assert told(PolicyVerdict(source="mac", destination="web", allowed=True, reasons=[rule])) == (
        "mac -> web: allowed\n    line 4, column 9: alice@ -> tag:web: 22"
    )
    open_to_all = PolicyVerdict(
        source="a", destination="b", allowed=True, reasons=[PolicyReason(text="no rules")]
    )
    assert told(open_to_all) == "a -> b: allowed\n    no rules"
    denied = PolicyVerdict(
        source="a\x1b[2J", destination="b", missing="source", detail="no rule has the source"
    )
    assert told(denied) == "a\\x1b[2J -> b: denied: no rule has the source"


def test_a_longer_text_keeps_its_lines_and_nothing_that_a_terminal_obeys() -> None:
    assert lines_of("{\n\t// é \x1b\r\x9b\u2028\n}\n") == "{\n\t// é \\x1b\\x0d\\x9b\\x2028\n}\n"
