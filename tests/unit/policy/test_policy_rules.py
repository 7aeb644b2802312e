"""From the sections of a document to clauses, and from clauses to the rules that clients are sent."""

import json

import pytest

from headscale_saas.policy import budget
from headscale_saas.policy.clauses import clauses_of
from headscale_saas.policy.language import parse
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.rules import Rule
from policies import Json, acl, grant, program

SECTIONS = {"groups": {"group:eng": ["alice@example.com"]}, "tagOwners": {"tag:a": [], "tag:b": []}}


def destinations(*rules: Json) -> list[str]:
    document = parse(json.dumps({**SECTIONS, "acls": rules}))
    return [
        " ".join([*map(str, clause.destinations), *["self"] * clause.has_self])
        for clause in clauses_of(document)
    ]


def told(rule: Rule) -> tuple[str, int | None, str]:
    return " ".join(map(str, rule.sources)), rule.protocol, " ".join(str(e.destination) for e in rule.entries)


def test_without_rules_everything_is_allowed() -> None:
    (clause,) = clauses_of(parse("{}"))
    assert list(map(str, (*clause.sources, *clause.destinations))) == ["*", "*"]
    assert clauses_of(parse('{"acls": []}')) == ()


def test_a_clause_has_one_destination_with_all_its_ports() -> None:
    document = parse(json.dumps({**SECTIONS, "acls": [acl("*", "tag:a:22 tag:b:1 tag:a:80,443")]}))
    first, second = clauses_of(document)
    assert [port.first for port in first.ip[0][1]] == [22, 80, 443]
    assert [str(one) for one in second.destinations] == ["tag:b"]


def test_the_real_service_takes_destinations_in_an_order_of_its_own() -> None:
    assert destinations(acl("group:eng", "group:eng:1 autogroup:self:1 tag:a:1 *:1")) == [
        "*", "tag:a", "group:eng", "self",
    ]  # fmt: skip
    assert destinations(acl("group:eng", "autogroup:self:1 autogroup:member:1")) == [
        "self",
        "autogroup:member",
    ]


def test_grants_come_before_acls() -> None:
    found = program(acl("tag:a", "tag:b:1"), grant("tag:b", "tag:c")).clauses
    assert [str(clause.sources[0]) for clause in found] == ["tag:b", "tag:a"]


def test_equal_sources_and_protocol_are_one_rule() -> None:
    rules = program(
        acl("tag:a tag:b", "tag:c:22"),
        acl("tag:b tag:a tag:b", "tag:a:80"),
        acl("tag:a tag:b", "tag:c:53", proto="udp"),
        grant("tag:a", "tag:c", ip="tcp:1 udp:53"),
    ).rules
    assert list(map(told, rules)) == [
        ("tag:a", 6, "tag:c"),
        ("tag:a", 17, "tag:c"),
        ("tag:a tag:b", None, "tag:c tag:a"),
        ("tag:a tag:b", 17, "tag:c"),
    ]


def test_capabilities_are_never_joined() -> None:
    app = {"example.com/cap/x": []}
    rules = program(grant("tag:a", "tag:b", ip="", app=app), grant("tag:a", "tag:c", ip="", app=app)).rules
    assert [told(rule)[2] for rule in rules] == ["tag:b", "tag:c"]


def test_drive_is_granted_in_return() -> None:
    app = {"tailscale.com/cap/drive": [{"shares": ["*"]}]}
    there, back = program(grant("tag:a", "tag:b", ip="", app=app)).rules
    assert (told(there)[0], told(there)[2]) == ("tag:a", "tag:b")
    assert (told(back)[0], told(back)[2], back.caps) == (
        "tag:b", "tag:a", {"tailscale.com/cap/drive-sharer": None},
    )  # fmt: skip


def test_no_sources_and_no_destinations_are_no_rule() -> None:
    assert program(acl("", "tag:a:1"), grant("tag:a", "")).rules == ()


def test_a_way_through_a_router_is_a_rule_even_without_access() -> None:
    (rule,) = program(grant("*", "10.0.0.0/8", ip="", app={"example.com/x": []}, via=["tag:a"])).rules
    assert rule.caps is None
    assert rule.entries[0].ports == ()


HOSTS = " ".join(f"10.0.{number >> 8}.{number & 255}" for number in range(1000))
PORTS = " ".join(map(str, range(1, 300)))
TARGETS = " ".join(["tag:a"] * (budget.MOST_DESTINATIONS // budget.A_GRANT + 1))


LARGE: Json = {"example.com/x": [{"x": "x" * budget.MOST_CAPABILITY_BYTES}]}


@pytest.mark.parametrize(
    "rule",
    [
        grant("*", HOSTS, ip=PORTS),
        grant("*", TARGETS, ip="", app={"example.com/x": []}),
        grant("*", "tag:a", ip="", app=LARGE),
    ],
)
def test_what_multiplies_is_refused(rule: Json) -> None:
    with pytest.raises(PolicyError) as refusal:
        program(rule)
    assert refusal.value.code == "too_large"


def test_so_is_what_every_node_would_be_told_of_itself() -> None:
    with pytest.raises(PolicyError, match="bytes of node attributes"):
        program(nodeAttrs=[{"target": ["*"], "app": LARGE}])


def test_so_are_ipsets_that_multiply() -> None:
    ipsets = {"ipset:a": [f"10.{n >> 8}.{n & 255}.0/25" for n in range(1000)]}
    ipsets |= {f"ipset:{n}": ["ipset:a"] for n in range(200)}
    with pytest.raises(PolicyError):
        program(acl("*", " ".join(f"{name}:1" for name in ipsets)), ipsets=ipsets)


def test_a_long_chain_of_ipsets_is_worked_out() -> None:
    ipsets = {"ipset:0": ["10.0.0.0/8"]} | {f"ipset:{n}": [f"ipset:{n - 1}"] for n in range(1, 900)}
    carried_out = program(acl("*", "ipset:899:1"), ipsets=ipsets)
    assert [len(pieces) for pieces in carried_out.atoms.spans.values()] == [1]
