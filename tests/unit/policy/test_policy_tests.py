"""`tests` and `sshTests`: a policy that does not do what its author says is refused."""

import json
from typing import Any

import pytest

from headscale_saas.errors import Invalid, LimitReached
from headscale_saas.policy import check, floods
from headscale_saas.policy.checking import FailedTests, failures_of
from headscale_saas.policy.language import parse
from headscale_saas.policy.program import Program
from headscale_saas.tailnet.model import Role
from tailnets import make_node, make_state, make_user

ALICE = make_user(1, name="alice", email="alice@example.com")
BOB = make_user(2, name="bob", email="bob@example.com", role=Role.ADMIN)
IDLE = make_user(3, name="idle", email="idle@example.com")
STATE = make_state(
    make_node(1, user_id=ALICE.id),
    make_node(2, user_id=ALICE.id),
    make_node(3, user_id=BOB.id),
    make_node(4, tags=("tag:web",), name="web"),
    make_node(5, tags=("tag:db",), name="db"),
    make_node(6, tags=("tag:router",), routable_ips=("10.1.0.0/16",), approved_routes=("10.1.0.0/16",)),
    make_node(7, tags=("tag:web",), name="old", expired=True),
    users=(ALICE, BOB, IDLE),
)
POLICY: dict[str, Any] = {
    "groups": {"group:eng": ["alice@example.com", "bob@example.com"], "group:none": []},
    "hosts": {"one": "10.9.0.1", "net": "10.9.0.0/16"},
    "tagOwners": {"tag:web": [], "tag:db": [], "tag:router": [], "tag:unused": []},
    "postures": {"posture:mac": ["node:os == 'macos'"]},
    "acls": [
        {"action": "accept", "src": ["group:eng"], "dst": ["tag:web:22,80-89"]},
        {"action": "accept", "src": ["alice@example.com"], "dst": ["tag:db:5432"], "proto": "tcp"},
        {"action": "accept", "src": ["alice@example.com"], "dst": ["one:53"], "proto": "udp"},
        {"action": "accept", "src": ["bob@example.com"], "dst": ["one:*"], "proto": "icmp"},
        {"action": "accept", "src": ["*"], "dst": ["tag:router:9"]},
        {"action": "accept", "src": ["tag:db"], "dst": ["net:*"], "srcPosture": ["posture:mac"]},
        {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]},
    ],
    "grants": [{"src": ["tag:web"], "dst": ["tag:db"], "ip": ["tcp:6379"], "app": {"example.com/cap/x": []}}],
    "ssh": [
        {"action": "accept", "src": ["alice@example.com"], "dst": ["tag:web"], "users": ["git"]},
        {"action": "check", "src": ["bob@example.com"], "dst": ["tag:web"], "users": ["autogroup:nonroot"]},
        {"action": "accept", "src": ["group:eng"], "dst": ["autogroup:self"], "users": ["root"]},
        {"action": "accept", "src": ["group:eng"], "dst": ["tag:db"], "users": ["localpart:*@example.com"]},
    ],
}  # fmt: skip


def refusal(**sections: Any) -> str:
    """The message; "" if all tests pass."""
    try:
        check(json.dumps(POLICY | sections), STATE)
    except Invalid as refused:
        return refused.message
    return ""


def outcome(src: str, word: str, **more: Any) -> str:
    """`accept`, `deny`, or `malformed` if neither test passes."""
    accepted = refusal(tests=[{"src": src, "accept": [word], **more}])
    denied = refusal(tests=[{"src": src, "deny": [word], **more}])
    assert accepted or denied
    return "accept" if not accepted else "deny" if not denied else "malformed"


@pytest.mark.parametrize(
    ("src", "word", "expected"),
    [
        ("alice@example.com", "tag:web:22", "accept"),
        ("alice@example.com", "tag:web:85", "accept"),
        ("alice@example.com", "tag:web:90", "deny"),
        ("group:eng", "100.64.0.4:80", "accept"),
        ("group:eng", "[fd7a:115c:a1e0::4]:80", "accept"),
        ("group:eng", "tag:db:5432", "deny"),
        ("alice@example.com", "tag:db:5432", "accept"),
        ("100.64.0.1", "tag:web:22", "accept"),
        ("tag:web", "tag:db:6379", "accept"),
        ("autogroup:member", "tag:web:22", "accept"),
        ("autogroup:tagged", "tag:web:22", "deny"),
        ("autogroup:admin", "tag:web:22", "accept"),
        ("10.1.2.3", "tag:router:9", "accept"),
        ("10.2.2.3", "tag:router:9", "deny"),
        ("alice@example.com", "idle@example.com:22", "deny"),
        ("alice@example.com", "group:none:22", "deny"),
        ("alice@example.com", "tag:unused:22", "deny"),
        ("alice@example.com", "8.8.8.8:53", "deny"),
        ("100.64.0.4", "100.64.0.7:22", "deny"),
        ("alice@example.com", "100.64.0.2:22", "deny"),
    ],
)
def test_what_is_reachable(src: str, word: str, expected: str) -> None:
    assert outcome(src, word) == expected


@pytest.mark.parametrize(
    ("word", "proto", "expected"),
    [
        ("one:53", "udp", "accept"),
        ("one:53", "17", "accept"),
        ("one:53", "tcp", "deny"),
        ("one:53", "", "accept"),
        ("one:54", "udp", "deny"),
        ("one:0", "udp", "malformed"),
        ("one:53", "nonsense", "malformed"),
    ],
)
def test_protocols(word: str, proto: str, expected: str) -> None:
    assert outcome("alice@example.com", word, proto=proto) == expected


def test_protocols_without_ports_are_tested_on_port_zero() -> None:
    assert outcome("bob@example.com", "one:0", proto="icmp") == "accept"
    assert outcome("alice@example.com", "one:0", proto="icmp") == "deny"


def test_what_every_source_must_reach_is_not_reached_if_one_does_not() -> None:
    assert outcome("autogroup:member", "tag:db:5432") == "deny"


def test_a_source_has_the_postures_that_the_test_gives_it() -> None:
    assert outcome("tag:db", "one:22") == "deny"
    assert outcome("tag:db", "one:22", srcPostureAttrs={"node:os": "macos"}) == "accept"


@pytest.mark.parametrize(
    "src",
    [
        "",
        "ghost@example.com",
        "idle@example.com",
        "group:ghost",
        "group:none",
        "tag:ghost",
        "tag:unused",
        "ghost",
        "autogroup:ghost",
        "autogroup:self",
        "autogroup:internet",
        "%bogus%",
        "svc:web",
    ],
)
def test_a_source_that_is_nobody_fails(src: str) -> None:
    assert outcome(src, "tag:web:22") == "malformed"


@pytest.mark.parametrize(
    "word",
    [
        "tag:ghost:22",
        "ghost:22",
        "group:ghost:22",
        "ghost@example.com:22",
        "10.9.0.0/16:22",
        "10.9.0.1/32:22",
        "net:22",
        "autogroup:internet:443",
        "autogroup:self:22",
        "tag:web:22,23",
        "tag:web:22-23",
        "tag:web:22-22",
        "tag:web:*",
        "tag:web:ssh",
        "tag:web:-1",
        "tag:web:0",
        "tag:web:70000",
        "tag:web:",
        "tag:web",
        "22",
        ":22",
        "",
        "[10.9.0.1]:22",
    ],
)
def test_a_destination_that_is_none_fails(word: str) -> None:
    assert outcome("alice@example.com", word) == "malformed"


def test_a_test_must_say_something() -> None:
    assert refusal(tests=[{"src": "alice@example.com"}]).startswith("test(s) failed")


def test_failures_are_told_line_by_line() -> None:
    message = refusal(
        tests=[
            {"src": "bob@example.com", "accept": ["tag:web:22", "tag:db:5432"], "proto": "tcp"},
            {"src": "alice@example.com", "deny": ["tag:web:22"]},
            {"src": "idle@example.com", "accept": ["tag:web:22"]},
        ]
    )
    assert message.splitlines() == [
        "test(s) failed:",
        "bob@example.com -> tag:db:5432 (tcp): expected ALLOWED, got DENIED",
        "alice@example.com -> tag:web:22: expected DENIED, got ALLOWED",
        'idle@example.com: source "idle@example.com" resolved to no IP addresses',
    ]


def test_each_failure_has_a_place() -> None:
    tests = """{"acls": [], "tests": [
      {"src": "alice@example.com", "accept": ["bob@example.com:22"]},
      {"src": "bob@example.com", "accept": ["alice@example.com:22"]},
    ]}"""
    with pytest.raises(FailedTests) as failed:
        check(tests, STATE)
    assert str(failed.value).splitlines() == [
        "test(s) failed:",
        "line 2, column 7: alice@example.com -> bob@example.com:22: expected ALLOWED, got DENIED",
        "line 3, column 7: bob@example.com -> alice@example.com:22: expected ALLOWED, got DENIED",
    ]


def ssh_refusal(src: str, dst: list[str], **logins: list[str]) -> str:
    return refusal(sshTests=[{"src": src, "dst": dst, **logins}])


@pytest.mark.parametrize(
    ("src", "dst", "logins"),
    [
        ("alice@example.com", "tag:web", {"accept": ["git"], "deny": ["root", "ubuntu"]}),
        ("alice@example.com", "100.64.0.4", {"accept": ["git"]}),
        ("bob@example.com", "tag:web", {"check": ["ubuntu"], "accept": ["ubuntu"], "deny": ["root"]}),
        ("alice@example.com", "autogroup:self", {"accept": ["root"]}),
        ("group:eng", "autogroup:self", {"accept": ["root"]}),
        ("alice@example.com", "bob@example.com", {"deny": ["root"]}),
        ("bob@example.com", "tag:db", {"accept": ["bob"], "deny": ["alice"]}),
        ("tag:db", "tag:web", {"deny": ["root", "git"]}),
    ],
)
def test_ssh_tests_that_pass(src: str, dst: str, logins: dict[str, list[str]]) -> None:
    assert ssh_refusal(src, [dst], **logins) == ""


@pytest.mark.parametrize(
    ("src", "dst", "logins"),
    [
        ("alice@example.com", "tag:web", {"accept": ["root"]}),
        ("alice@example.com", "tag:web", {"check": ["git"]}),
        ("alice@example.com", "tag:web", {"deny": ["git"]}),
        ("group:eng", "tag:web", {"accept": ["git"], "deny": ["git"]}),
        ("group:eng", "tag:db", {"accept": ["alice"]}),
        ("alice@example.com", "tag:web", {}),
        ("alice@example.com", "tag:web", {"accept": [""]}),
        ("", "tag:web", {"deny": ["root"]}),
        ("ghost@example.com", "tag:web", {"deny": ["root"]}),
        ("alice@example.com", "idle@example.com", {"deny": ["root"]}),
        ("alice@example.com", "tag:unused", {"deny": ["root"]}),
        ("alice@example.com", "100.64.0.7", {"deny": ["root"]}),
        ("tag:db", "autogroup:self", {"deny": ["root"]}),
    ],
)
def test_ssh_tests_that_fail(src: str, dst: str, logins: dict[str, list[str]]) -> None:
    assert ssh_refusal(src, [dst], **logins).startswith("test(s) failed")


def test_an_ssh_test_without_destinations_fails() -> None:
    assert "at least one dst" in ssh_refusal("alice@example.com", [], deny=["root"])


def test_every_destination_of_an_ssh_test_counts() -> None:
    assert ssh_refusal("alice@example.com", ["tag:web", "tag:db"], accept=["git"]).splitlines() == [
        "test(s) failed:",
        "alice@example.com/git -> db: expected ALLOWED, got DENIED",
    ]


def test_failures_say_how_somebody_got_in() -> None:
    assert ssh_refusal("alice@example.com", ["tag:web"], check=["git"]).splitlines()[1] == (
        "alice@example.com/git -> web: expected ALLOWED via check, got ALLOWED via accept"
    )


def test_a_policy_is_refused_where_its_first_failing_test_stands() -> None:
    text = '{"acls": [],\n "tests": [{"src": "alice@example.com", "accept": ["100.64.0.4:22"]}]}'
    with pytest.raises(Invalid) as refused:
        check(text, STATE)
    assert str(refused.value.position) == "line 2, column 12"  # type: ignore[attr-defined]


def test_no_text_is_no_policy() -> None:
    assert check("", STATE) is None


@pytest.mark.parametrize(
    "sections",
    [
        {"groups": POLICY["groups"] | {f"group:g{n}": ["user:*@example.com"] for n in range(500)},
         "tests": [{"src": f"group:g{n}", "deny": ["tag:web:1"]} for n in range(500)]},
        {"acls": [{"action": "accept", "src": ["tag:db"], "dst": ["tag:web:1"]}] * 300,
         "tests": [{"src": "tag:web", "deny": ["tag:db:1"] * 300}]},
        {"sshTests": [{"src": "autogroup:member", "dst": ["tag:web"], "deny": ["x"] * 1000}]},
    ],
)  # fmt: skip
def test_tests_may_look_at_only_so_much(sections: dict[str, Any]) -> None:
    nodes = [make_node(n, user_id=n, tags=()) for n in range(100, 500)]
    servers = [make_node(n, tags=("tag:web", f"tag:w{n}")) for n in range(500, 520)]
    users = tuple(make_user(n, email=f"u{n}@example.com") for n in range(100, 500))
    state = make_state(*nodes, *servers, make_node(5, tags=("tag:db",)), users=users)
    program = Program(parse(json.dumps(POLICY | sections)))
    with pytest.raises(LimitReached):
        failures_of(program, state, steps=50_000)


def test_a_name_that_means_several_users_is_refused() -> None:
    twin = make_user(9, name="twin", email="alice@example.com", provider="oidc", provider_id="https://id/9")
    state = make_state(make_node(1, user_id=ALICE.id), users=(ALICE, BOB, twin))
    with pytest.raises(Invalid, match="multiple users found"):
        check(json.dumps(POLICY), state)
    assert check('{"acls": [{"action": "accept", "src": ["bob@example.com"], "dst": ["*:*"]}]}', state)


def test_ssh_rules_that_name_too_many_addresses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floods, "MOST_PRINCIPALS", 8)
    rule = {"action": "accept", "dst": ["tag:web"], "users": ["git"]}
    few = {**POLICY, "ssh": [{**rule, "src": ["group:eng"]}]}
    many = {**POLICY, "ssh": [{**rule, "src": [who]} for who in ("group:eng", "alice@example.com", "tag:db")]}
    assert check(json.dumps(few), STATE)
    with pytest.raises(Invalid, match="12 addresses at one node"):
        check(json.dumps(many), STATE)
