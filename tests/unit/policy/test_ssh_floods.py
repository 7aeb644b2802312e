"""SSH rules about users' own devices multiply by the users: too many are refused, and later left out."""

import json

import pytest
from msgspec.structs import replace

from headscale_saas.policy import advance, check, compile_policy
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.ssh import policies
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId, UserId
from headscale_saas.tailnet.state import TailnetState
from tailnets import make_node, make_state, make_user, with_nodes

POSTURES, PEOPLE = 600, 1100


def policy(postures: int) -> str:
    """Each rule has sources of its own, so that nothing can be joined."""
    names = {f"posture:p{n}": [f"node:tsVersion >= '1.{n}.0'"] for n in range(postures)}
    rules = [
        {
            "action": "accept",
            "src": ["autogroup:member"],
            "dst": ["autogroup:self"],
            "users": [f"login{n}"],
            "srcPosture": [name],
        }
        for n, name in enumerate(names)
    ]
    return json.dumps({"postures": names, "ssh": rules})


def device(number: int, version: int) -> Node:
    node = make_node(number, user_id=UserId(number))
    return replace(node, hostinfo=replace(node.hostinfo, ipn_version=f"1.{version}.1"))


def crowd(people: int, text: str) -> TailnetState:
    devices = (device(number, number % POSTURES) for number in range(1, people + 1))
    owners = tuple(make_user(number, email=f"user{number}@example.com") for number in range(1, people + 20))
    state = make_state(*devices, users=owners)
    return state.replace(state.tailnet, {}, {}, text)


def test_too_many_are_refused() -> None:
    text = policy(POSTURES)
    with pytest.raises(PolicyError, match="SSH rules about their own devices, more than 250000") as refusal:
        check(text, crowd(PEOPLE, text))
    assert refusal.value.code == "too_large"
    assert check(text, crowd(PEOPLE // 2, text)) is not None


def test_in_a_tailnet_that_grows_newcomers_are_told_none_and_the_others_keep_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    people = 10
    monkeypatch.setattr(policies, "MOST_RULES", sum(range(people + 1)))
    state = crowd(people, policy(people))
    state = with_nodes(state, *(device(number, number - 1) for number in range(1, people + 1)))
    compiled = compile_policy(state.policy_text, state)

    def told(*numbers: int) -> list[int]:
        audiences = (compiled.audience(state.nodes[NodeId(number)]) for number in numbers)
        return [len(compiled.ssh_policy(audience).rules) for audience in audiences]

    there = range(1, people + 1)
    assert told(*there) == list(there)
    assert compiled.is_full
    for newcomer in range(people + 1, people + 5):
        after = with_nodes(state, device(newcomer, people))
        compiled = advance(compiled, state, after, Touched(nodes=frozenset({NodeId(newcomer)})))
        state = after
        assert told(newcomer) == [0]
        assert told(*there) == list(there)
