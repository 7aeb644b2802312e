"""Why a connection is allowed, or what is missing."""

import pytest

from headscale_saas.errors import Invalid, LimitReached, NotFound
from headscale_saas.policy import check
from headscale_saas.policy.answers.explain import explain
from headscale_saas.policy.answers.verdicts import Missing, Verdict
from tailnets import make_node, make_state, make_user

ALICE = make_user(1, name="alice", email="alice@example.com")
BOB = make_user(2, name="bob", email="bob@example.com")
EXIT = ("0.0.0.0/0", "::/0")
ROUTES = ("10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16")
STATE = make_state(
    make_node(1, user_id=ALICE.id, name="laptop", hostname="Alice's Laptop"),
    make_node(2, user_id=ALICE.id, name="phone"),
    make_node(3, user_id=BOB.id, name="bobs"),
    make_node(4, tags=("tag:web",), name="web"),
    make_node(5, tags=("tag:web",), name="old", expired=True),
    make_node(6, tags=("tag:router",), name="router", routable_ips=ROUTES, approved_routes=ROUTES[::2]),
    make_node(7, tags=("tag:exit",), name="exit", routable_ips=EXIT, approved_routes=EXIT),
    users=(ALICE, BOB),
)  # fmt: skip
TEXT = """{
  "hosts": {"printer": "10.1.0.9"},
  "tagOwners": {"tag:web": [], "tag:router": [], "tag:exit": [], "tag:other": []},
  "postures": {"posture:mac": ["node:os == 'macos'"]},
  "acls": [
    {"action": "accept", "src": ["alice@example.com"], "dst": ["tag:web:22,80-89"]},
    {"action": "accept", "src": ["alice@example.com"], "dst": ["printer:631"], "proto": "tcp"},
    {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]},
    {"action": "accept", "src": ["bob@example.com"], "dst": ["autogroup:internet:443"]},
    {"action": "accept", "src": ["tag:web"], "dst": ["bob@example.com:*"], "srcPosture": ["posture:mac"]},
    {"action": "accept", "src": ["10.1.0.0/16"], "dst": ["100.64.0.3:*"], "proto": "gre"},
  ],
  "grants": [
    {"src": ["bob@example.com"], "dst": ["10.1.0.0/16"], "ip": ["*"], "via": ["tag:router"]},
    {"src": ["bob@example.com"], "dst": ["10.3.0.0/16"], "ip": ["*"], "via": ["tag:other"]},
    {"src": ["bob@example.com"], "dst": ["tag:exit"], "app": {"example.com/cap/x": []}},
  ],
}"""
PROGRAM = check(TEXT, STATE)


def asked(source: str, destination: str, port: int = 22, protocol: str = "tcp") -> Verdict:
    (verdict,) = explain(PROGRAM, STATE, source, destination, port, protocol)
    return verdict


def test_an_allowed_connection_names_the_rule_and_where_it_stands() -> None:
    verdict = asked("laptop", "web", 85)
    assert verdict.is_allowed
    assert str(verdict).splitlines() == [
        "laptop -> web: allowed",
        "    line 6, column 5: alice@example.com -> tag:web: 22,80-89",
    ]


def test_a_refused_one_names_the_rules_that_came_closest() -> None:
    assert str(asked("laptop", "web", 90)).splitlines() == [
        "laptop -> web: denied: the rules for this pair allow other ports or protocols",
        "    line 6, column 5: alice@example.com -> tag:web: 22,80-89",
    ]


@pytest.mark.parametrize(
    ("source", "destination", "port", "protocol"),
    [
        ("Alice's laptop", "web.tail.example", 22, "tcp"),
        ("100.64.0.1", "100.64.0.4", 22, "udp"),
        ("fd7a:115c:a1e0::1", "fd7a:115c:a1e0::4", 22, "tcp"),
        ("laptop", "web", 443, "icmp"),
        ("laptop", "printer", 631, "6"),
        ("laptop", "10.1.0.9", 631, ""),
        ("laptop", "phone", 9, "tcp"),
        ("bobs", "8.8.8.8", 443, "tcp"),
        ("bobs", "10.1.2.3", 22, "tcp"),
        ("10.1.2.3", "bobs", 0, "gre"),
    ],
)
def test_allowed(source: str, destination: str, port: int, protocol: str) -> None:
    assert asked(source, destination, port, protocol).is_allowed


@pytest.mark.parametrize(
    ("source", "destination", "missing"),
    [
        ("old", "bobs", Missing.SOURCE_AWAY),
        ("laptop", "old", Missing.DESTINATION_AWAY),
        ("laptop", "10.9.0.1", Missing.ROUTE),
        ("laptop", "10.2.0.1", Missing.APPROVAL),
        ("exit", "web", Missing.SOURCE),
        ("laptop", "bobs", Missing.DESTINATION),
        ("bobs", "laptop", Missing.DESTINATION),
        ("web", "bobs", Missing.POSTURE),
        ("bobs", "10.3.0.1", Missing.ROUTER),
        ("bobs", "8.8.8.8", Missing.PORTS),
        ("bobs", "exit", Missing.PORTS),
        ("bobs", "router", Missing.DESTINATION),
        ("100.64.0.1", "fd7a:115c:a1e0::4", Missing.FAMILY),
    ],
)
def test_what_is_missing(source: str, destination: str, missing: Missing) -> None:
    assert asked(source, destination).missing is missing


@pytest.mark.parametrize(("port", "protocol"), [(22, "sctp"), (22, "gre"), (0, "esp")])
def test_rules_without_a_protocol_are_about_tcp_udp_and_icmp(port: int, protocol: str) -> None:
    assert asked("laptop", "web", port, protocol).missing is Missing.PORTS


def test_ends_with_many_nodes_are_asked_pair_by_pair() -> None:
    verdicts = explain(PROGRAM, STATE, "alice@example.com", "tag:web", 22)
    assert [(one.source, one.destination, one.is_allowed) for one in verdicts] == [
        ("laptop", "web", True),
        ("laptop", "old", False),
        ("phone", "web", True),
        ("phone", "old", False),
    ]


def test_of_very_many_nodes_only_those_are_told_that_rules_tell_apart() -> None:
    crowd = [make_node(number, tags=("tag:web",)) for number in range(100, 200)]
    state = make_state(*STATE.nodes.values(), *crowd, users=(ALICE, BOB))
    assert len(explain(PROGRAM, state, "tag:web", "tag:web", 22)) < 10
    people = [make_user(number, email=f"p{number}@example.com") for number in range(100, 200)]
    devices = [make_node(number, user_id=number) for number in range(100, 200)]
    state = make_state(*devices, users=tuple(people))
    with pytest.raises(LimitReached):
        explain(PROGRAM, state, "autogroup:member", "autogroup:member", 22)


def test_without_a_policy_everything_is_allowed() -> None:
    (verdict,) = explain(None, STATE, "bobs", "web", 22)
    assert verdict.is_allowed
    assert str(verdict.reasons[0]) == "* -> *: *"


@pytest.mark.parametrize("end", ["nobody", "", "ghost@example.com", "tag:other", "%bogus%", "x" * 9999])
def test_ends_must_be_somebody(end: str) -> None:
    with pytest.raises(NotFound):
        asked(end, "web")


def test_protocols_must_be_known() -> None:
    with pytest.raises(Invalid):
        asked("laptop", "web", 22, "nonsense")


def test_an_exit_node_serves_only_those_who_are_shown_it() -> None:
    def missing(*targets: str) -> Missing | None:
        rule = f'{{"action": "accept", "src": ["bob@example.com"], "dst": {[*targets]}}}'.replace("'", '"')
        program = check(f'{{"acls": [{rule}]}}', STATE)
        return explain(program, STATE, "bobs", "8.8.8.8", 53)[0].missing

    assert missing("8.8.8.0/24:53") == Missing.EXIT
    assert missing("8.8.8.0/24:80") == Missing.PORTS
    assert missing("8.8.8.0/24:53", "autogroup:internet:443") is None
    assert missing("*:53") is None


def test_what_a_device_calls_itself_hides_nobody() -> None:
    def sources(word: str) -> set[str]:
        mimic = make_node(9, user_id=BOB.id, name="mimic", hostname=word)
        state = make_state(*STATE.nodes.values(), mimic, users=(ALICE, BOB))
        return {verdict.source for verdict in explain(PROGRAM, state, word, "web", 22)}

    assert sources("alice@example.com") == {"laptop", "phone"}
    assert sources("100.64.0.1") == {"laptop"}
    assert sources("printer") == {"printer"}
    assert sources("Bob's other one") == {"mimic"}
    with pytest.raises(NotFound):
        sources("tag:other")


@pytest.mark.parametrize(
    "switch",
    ['"disableIPv4": true', '"nodeAttrs": [{"target": ["bob@example.com"], "attr": ["disable-ipv4"]}]'],
)
def test_a_node_that_the_policy_leaves_without_ipv4_is_asked_about_by_its_other_address(switch: str) -> None:
    rules = """[
        {"action": "accept", "src": ["alice@example.com"], "dst": ["100.64.0.3:22"]},
        {"action": "accept", "src": ["bob@example.com"], "dst": ["10.1.0.0/16:22", "tag:web:22"]},
        {"action": "accept", "src": ["alice@example.com"], "dst": ["bob@example.com:23"]},
    ]"""
    owners = '"tagOwners": {"tag:web": []}'
    program = check(f'{{{owners}, "acls": {rules}, {switch}}}', STATE)

    def missing(source: str, destination: str, port: int = 22) -> Missing | None:
        (verdict,) = explain(program, STATE, source, destination, port)
        return verdict.missing

    assert missing("laptop", "bobs") is not None, "the rule names the address that it does not have"
    assert missing("laptop", "100.64.0.3") is Missing.FAMILY
    assert missing("laptop", "bobs", 23) is None
    assert missing("bobs", "web") is None
    assert missing("bobs", "10.1.0.9") is Missing.FAMILY
    (verdict,) = explain(program, STATE, "bobs", "10.1.0.9", 22)
    assert "the policy leaves bobs without IPv4" in str(verdict)
