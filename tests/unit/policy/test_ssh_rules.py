"""What nodes are told about who may log in at them by SSH."""

import json
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from headscale_saas.policy.language import parse
from headscale_saas.policy.members import Members, members_of
from headscale_saas.policy.program import Program
from headscale_saas.policy.resolution import resolve
from headscale_saas.policy.ssh import policies as ssh_policies
from headscale_saas.policy.ssh.actions import ACCEPT, CHECK
from headscale_saas.policy.ssh.policies import SshPolicies
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.ssh import SSHPolicy, SSHRule
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, UserId
from headscale_saas.tailnet.state import TailnetState
from tailnets import make_node, make_state, make_user, with_nodes

ALICE = make_user(1, name="alice", email="alice@example.com")
BOB = make_user(2, name="bob", email="bob@Example.org")
LAPTOP = make_node(1, user_id=ALICE.id)
PHONE = make_node(2, user_id=ALICE.id)
BOBS = make_node(3, user_id=BOB.id)
SERVER = make_node(4, tags=("tag:server",))
BUILDER = make_node(5, tags=("tag:ci", "tag:builder"))
NODES = (LAPTOP, PHONE, BOBS, SERVER, BUILDER)
STATE = make_state(*NODES, users=(ALICE, BOB))
TAGS = {"tag:server": [], "tag:ci": [], "tag:builder": [], "tag:recorder": []}

Json = dict[str, Any]


def accept(src: list[str], dst: list[str], users: list[str], **more: Any) -> Json:
    return {"action": "accept", "src": src, "dst": dst, "users": users, **more}


def check(src: list[str], dst: list[str], users: list[str], **more: Any) -> Json:
    return {**accept(src, dst, users), "action": "check", **more}


Told = tuple[list[int], dict[str, str]]
"""Of a rule: the numbers of the nodes (by their IPv4 addresses), and the users."""


def shortened(rule: SSHRule) -> Told:
    numbers = [int(p.node_ip.rpartition(".")[2]) for p in rule.principals if "." in p.node_ip]
    return numbers, dict(rule.ssh_users or {})


class World:
    """A policy of SSH rules in a state, and in those that follow it."""

    def __init__(self, *rules: Json, state: TailnetState = STATE, **sections: Any) -> None:
        self.program = Program(parse(json.dumps({"tagOwners": TAGS, "ssh": rules, **sections})))
        self.state = state
        self.members: Members = members_of(self.program.atoms, state)
        self.policies = SshPolicies(self.program.ssh, self.members, state.users)

    def move_to(self, state: TailnetState, touched: Touched) -> None:
        self.members = self.members.advanced(self.state, state, touched)
        self.policies = SshPolicies(self.program.ssh, self.members, state.users, self.policies)
        self.state = state

    def at(self, node: Node) -> SSHPolicy:
        mask = self.members.masks[node.id]
        return self.policies.policy(self.program.ssh.standpoint(node, mask))

    def told(self, node: Node) -> list[Told]:
        return [shortened(rule) for rule in self.at(node).rules]

    def printed(self, node: Node) -> list[Told]:
        """As the real service writes it."""
        return [shortened(rule) for rule in resolve(self.program, self.state).printed_ssh(node)]

    def period(self, source: Node, target: Node) -> timedelta | None:
        return resolve(self.program, self.state).check_period(source, target)


ROOT = {"root": "root"}
NO_ROOT = {"root": ""}


def test_a_rule_is_told_to_its_destinations_with_all_addresses_of_its_sources() -> None:
    world = World(accept(["alice@example.com"], ["tag:server"], ["root"]))
    (rule,) = world.at(SERVER).rules
    assert [p.node_ip for p in rule.principals] == [
        "100.64.0.1",
        "100.64.0.2",
        "fd7a:115c:a1e0::1",
        "fd7a:115c:a1e0::2",
    ]
    assert rule.ssh_users == ROOT
    assert rule.action == ACCEPT
    assert not world.at(LAPTOP).rules


@pytest.mark.parametrize(
    ("users", "told"),
    [
        (["root"], ROOT),
        (["ubuntu"], {"ubuntu": "ubuntu", "root": ""}),
        (["autogroup:nonroot"], {"*": "=", "root": ""}),
        (["autogroup:nonroot", "root"], {"*": "=", "root": "root"}),
        (
            ["autogroup:member", "localpart:x"],
            {"autogroup:member": "autogroup:member", "localpart:x": "localpart:x", "root": ""},
        ),
    ],
)
def test_root_must_be_named_and_all_other_names_are_literal(users: list[str], told: dict[str, str]) -> None:
    assert World(accept(["tag:ci"], ["tag:server"], users)).told(SERVER) == [([5], told)]


def test_the_real_service_names_a_node_with_two_tags_twice() -> None:
    world = World(accept(["tag:ci"], ["tag:server"], ["root"]))
    assert world.printed(SERVER) == [([5, 5], ROOT)]
    assert world.told(SERVER) == [([5], ROOT)]


def test_rules_without_sources_are_not_told() -> None:
    world = World(accept([], ["tag:server"], ["root"]), accept(["tag:recorder"], ["tag:server"], ["root"]))
    assert not world.at(SERVER).rules


def test_self_is_the_devices_of_the_same_user() -> None:
    world = World(accept(["autogroup:member"], ["autogroup:self"], ["root"]))
    assert world.told(LAPTOP) == world.told(PHONE) == [([1, 2], ROOT)]
    assert world.told(BOBS) == [([3], ROOT)]
    assert world.told(SERVER) == []


def test_checks_come_first_and_say_where_to_ask() -> None:
    world = World(
        accept(["alice@example.com"], ["tag:server"], ["root"]),
        check(["bob@Example.org"], ["tag:server"], ["root"], checkPeriod="1h"),
    )
    first, second = world.at(SERVER).rules
    assert (first.action, second.action) == (CHECK, ACCEPT)
    assert CHECK.hold_and_delegate.endswith("/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER")


def test_environment_variables_are_passed_on() -> None:
    (rule,) = World(accept(["tag:ci"], ["tag:server"], ["root"], acceptEnv=["LC_*"])).at(SERVER).rules
    assert rule.accept_env == ("LC_*",)


LOCAL_PARTS = accept(
    ["autogroup:member", "tag:ci"],
    ["tag:server"],
    ["localpart:*@example.com", "localpart:*@example.org", "git"],
)
GIT = {"git": "git", "root": ""}


def test_local_parts_give_each_user_of_the_domain_a_name() -> None:
    world = World(LOCAL_PARTS)
    assert world.told(SERVER) == [
        ([1, 2, 3, 5], GIT),
        ([1, 2], {"alice": "alice"}),
        ([3], {"bob": "bob"}),
    ]
    assert world.printed(SERVER) == [
        ([1, 2], GIT),
        ([1, 2], {"alice": "alice"}),
        ([3], GIT),
        ([3], {"bob": "bob"}),
        ([5, 5], GIT),
    ]


def test_with_local_parts_sources_let_their_own_devices_in() -> None:
    world = World(LOCAL_PARTS)
    assert world.told(PHONE) == world.printed(PHONE) == [([1, 2], GIT), ([1, 2], {"alice": "alice"})]
    assert world.printed(BUILDER) == [([5], GIT)]
    assert world.told(BUILDER) == []


def test_rules_with_the_same_sources_are_told_as_one() -> None:
    rules = [
        accept(["tag:ci"], ["tag:server"], users) for users in (["git"], ["root"], ["autogroup:nonroot"])
    ]
    world = World(*rules)
    assert world.told(SERVER) == [([5], {"git": "git", "root": "root", "*": "="})]
    assert len(world.printed(SERVER)) == 3


def test_rules_that_do_other_things_stay_in_order() -> None:
    world = World(
        accept(["tag:ci"], ["tag:server"], ["git"]),
        accept(["tag:ci"], ["tag:server"], ["git", "root"], acceptEnv=["LANG"]),
        accept(["tag:ci"], ["tag:server"], ["deploy"]),
        check(["tag:ci"], ["tag:server"], ["git"]),
    )
    assert [set(users) - {"root"} for _, users in world.told(SERVER)] == [
        {"git"},
        {"git"},
        {"git"},
        {"deploy"},
    ]
    assert world.told(SERVER) == [([5], users) for _, users in world.printed(SERVER)]


def test_hundreds_of_rules_with_other_words_for_the_same_nodes_are_one() -> None:
    rules = [accept([f"group:g{n}"], ["tag:server"], [f"user{n}"]) for n in range(500)]
    world = World(*rules, groups={f"group:g{n}": ["user:*@example.com"] for n in range(500)})
    ((sources, users),) = world.told(SERVER)
    assert (sources, len(users)) == ([1, 2], 501)


def test_a_policy_never_tells_more_than_so_many_principals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_policies, "MOST_PRINCIPALS", 5)
    world = World(
        accept(["alice@example.com"], ["tag:server"], ["root"]),
        accept(["bob@Example.org"], ["tag:server"], ["root"]),
    )
    assert world.told(SERVER) == [([1, 2], ROOT)]


def test_devices_without_the_posture_are_no_sources() -> None:
    postures = {"posture:mac": ["node:os == 'macos'"]}
    mac = replace(PHONE, hostinfo=Hostinfo(os="macOS"))
    world = World(
        accept(["autogroup:member"], ["tag:server"], ["root"]),
        accept(["autogroup:member"], ["tag:server"], ["git"], srcPosture=[]),
        state=make_state(LAPTOP, mac, BOBS, SERVER, users=(ALICE, BOB)),
        postures=postures,
        defaultSrcPosture=["posture:mac"],
    )
    assert world.told(SERVER) == [([2], ROOT), ([1, 2, 3], GIT)]


def test_expired_devices_are_no_sources() -> None:
    expired = replace(PHONE, expired=True)
    world = World(
        accept(["alice@example.com"], ["tag:server"], ["root"]),
        state=make_state(LAPTOP, expired, SERVER, users=(ALICE,)),
    )
    assert world.told(SERVER) == [([1], ROOT)]


def test_recorders_are_told_with_their_addresses() -> None:
    recorder = make_node(9, tags=("tag:recorder",))
    rule = accept(["tag:ci"], ["tag:server"], ["root"], recorder=["tag:recorder"], enforceRecorder=True)
    world = World(rule, state=make_state(*NODES, recorder, users=(ALICE, BOB)))
    action = world.at(SERVER).rules[0].action
    assert action is not None
    assert action.recorders == ("100.64.0.9:80", "[fd7a:115c:a1e0::9]:80")
    assert action.on_recording_failure is not None


def test_nodes_with_one_standpoint_share_a_policy() -> None:
    twin = make_node(6, tags=("tag:server",))
    world = World(
        accept(["autogroup:member"], ["tag:server", "autogroup:self"], ["root"]),
        state=make_state(*NODES, twin, users=(ALICE, BOB)),
    )
    assert world.at(SERVER) is world.at(twin)
    assert world.at(LAPTOP) is world.at(PHONE)
    assert world.at(LAPTOP) is not world.at(BOBS)


def test_a_policy_stays_the_same_object_until_its_sources_change() -> None:
    world = World(
        accept(["alice@example.com"], ["tag:server"], ["root"]),
        accept(["bob@Example.org"], ["tag:ci"], ["root"]),
    )
    server, builder = world.at(SERVER), world.at(BUILDER)
    newcomer = make_node(40, user_id=ALICE.id)
    world.move_to(with_nodes(world.state, newcomer), Touched(nodes=frozenset({newcomer.id})))
    assert world.at(BUILDER) is builder
    assert world.at(SERVER) is not server
    assert world.told(SERVER) == [([1, 2, 40], ROOT)]
    world.move_to(with_nodes(world.state, gone=(40,)), Touched(nodes=frozenset({newcomer.id})))
    assert world.at(BUILDER) is builder
    assert world.at(SERVER) == server


def test_a_new_login_is_a_new_local_part() -> None:
    world = World(LOCAL_PARTS)
    renamed = replace(ALICE, email="alicia@example.com")
    state = world.state.replace(world.state.tailnet, {}, {ALICE.id: renamed}, None)
    world.move_to(state, Touched(users=frozenset({UserId(1)})))
    assert world.told(SERVER)[1] == ([1, 2], {"alicia": "alicia"})


def test_the_first_check_rule_about_a_pair_says_how_long_a_check_holds() -> None:
    world = World(
        accept(["alice@example.com"], ["tag:server"], ["root"]),
        check(["alice@example.com"], ["tag:server"], ["root"], checkPeriod="1h"),
        check(["autogroup:member"], ["tag:server"], ["root"], checkPeriod="always"),
        check(["autogroup:member"], ["autogroup:self"], ["root"]),
    )
    assert world.period(LAPTOP, SERVER) == timedelta(hours=1)
    assert world.period(BOBS, SERVER) == timedelta(0)
    assert world.period(LAPTOP, PHONE) == timedelta(hours=12)
    assert world.period(LAPTOP, BOBS) is None
    assert world.period(BUILDER, SERVER) is None
