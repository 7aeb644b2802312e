"""Policies are refused that would fill the filters of the nodes that are there."""

import json

import pytest

from headscale_saas.policy import check
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.tailnet.model import UserId
from headscale_saas.tailnet.state import TailnetState
from tailnets import make_node, make_state, make_user

PEOPLE = 400


def crowd() -> TailnetState:
    nodes = (make_node(number, user_id=UserId(number)) for number in range(1, PEOPLE + 1))
    users = tuple(make_user(number, email=f"user{number}@example.com") for number in range(1, PEOPLE + 1))
    return make_state(*nodes, users=users)


def policy(rules: int, source: str) -> str:
    """Each rule has sources of its own, so that nothing can be joined."""
    acls = [
        {
            "action": "accept",
            "src": [source, f"192.0.2.{n % 256}", f"198.51.100.{n // 256}"],
            "dst": [f"*:{n}"],
        }
        for n in range(1, rules)
    ]
    return json.dumps({"acls": acls})


def test_a_filter_that_would_be_too_large_is_refused() -> None:
    with pytest.raises(PolicyError, match="packet filter of one node would take more than 16 MiB") as refusal:
        check(policy(2000, "autogroup:member"), crowd())
    assert refusal.value.code == "too_large"


def test_so_are_filters_that_would_be_too_large_together() -> None:
    acls = [
        {
            "action": "accept",
            "src": ["user:*@example.com", f"user{n}@example.com"],
            "dst": [f"autogroup:self:{n}"],
        }
        for n in range(1, 4000)
    ]
    with pytest.raises(PolicyError, match="those of all nodes more than 64 MiB"):
        check(json.dumps({"acls": acls}), crowd())


def test_as_many_rules_with_few_sources_are_not() -> None:
    assert check(policy(2000, "user1@example.com"), crowd()) is not None
