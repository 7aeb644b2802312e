"""What contains a node: selectors and postures as bits."""

import json
from ipaddress import IPv4Address
from typing import Any

import pytest

from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.language import parse
from headscale_saas.policy.language.recognition import recognise
from headscale_saas.tailnet.model import Node, Role, User
from tailnets import make_hostinfo, make_node, make_user

ALICE = make_user(1, name="alice", email="alice@example.com", role=Role.ADMIN)
NODE = make_node(1, user_id=ALICE.id, ipv4=IPv4Address("100.64.0.1"))
TAGGED = make_node(2, tags=("tag:a", "tag:b"))
SECTIONS = {
    "groups": {"group:eng": ["alice@example.com"], "group:ops": ["bob@example.com"]},
    "hosts": {"web": "100.64.0.1", "net": "100.64.0.0/16"},
    "ipsets": {
        "ipset:near": ["100.64.0.0-100.64.0.9", "ipset:far"],
        "ipset:far": ["add 10.0.0.0/8", "remove 10.1.0.0/16"],
    },
    "tagOwners": {"tag:a": [], "tag:b": [], "tag:c": []},
}


def contains(word: str, node: Node, owner: User | None, **sections: Any) -> bool:
    selector = recognise(word)
    assert selector is not None
    atoms = Atoms(parse(json.dumps(SECTIONS | sections)), [selector])
    return bool(atoms.mask(node, owner) & atoms.bit(selector))


def test_a_user_without_a_domain_is_in_none() -> None:
    user = make_user(3, name="example.com", email="")
    assert not contains("user:*@example.com", make_node(3, user_id=user.id), user)


@pytest.mark.parametrize(
    "word",
    [
        *("*", "alice@example.com", "user:*@example.com", "group:eng", "autogroup:member", "autogroup:admin"),
        *("web", "net", "100.64.0.1", "100.64.0.0/30", "fd7a:115c:a1e0::1", "ipset:near"),
        *("autogroup:danger-all", "alice@"),
    ],
)
def test_a_users_node_is_in(word: str) -> None:
    assert contains(word, NODE, ALICE)


@pytest.mark.parametrize(
    "word",
    [
        *("bob@example.com", "Alice@example.com", "user:*@example.org", "group:ops", "autogroup:owner"),
        *("autogroup:tagged", "tag:a", "100.64.0.2", "ipset:far", "autogroup:shared"),
        *("autogroup:self", "autogroup:internet", "svc:web"),
    ],
)
def test_a_users_node_is_not_in(word: str) -> None:
    assert not contains(word, NODE, ALICE)


def test_tags_replace_the_user() -> None:
    assert contains("tag:a", TAGGED, None)
    assert contains("tag:b", TAGGED, None)
    assert contains("autogroup:tagged", TAGGED, None)
    assert not contains("tag:c", TAGGED, None)
    assert not contains("autogroup:member", TAGGED, None)


def test_an_owner_is_an_admin_too() -> None:
    owner = make_user(1, role=Role.OWNER)
    assert contains("autogroup:admin", NODE, owner)
    assert contains("autogroup:owner", NODE, owner)


def test_whoever_has_the_identifier_of_a_provider_is_meant_by_it() -> None:
    user = make_user(1, name="x", provider="oidc", provider_id="https://id.example/123@x")
    assert contains("https://id.example/123@x", NODE, user)


def test_an_address_is_only_itself() -> None:
    """Whoever names the IPv4 address of a node means that, not the node."""
    assert contains("100.64.0.1", NODE, ALICE)
    assert not contains("100.64.0.1", make_node(1, ipv4=None), ALICE)


def test_postures_are_bits_too() -> None:
    document = parse('{"postures": {"posture:linux": ["node:os == \'linux\'"]}}')
    atoms = Atoms(document, ())
    linux = make_node(1, hostinfo=make_hostinfo(1))
    assert atoms.mask(linux, ALICE) & atoms.posture_bits(["posture:linux"])
    macos = make_node(1, hostinfo=type(linux.hostinfo)(os="macOS"))
    assert not atoms.mask(macos, ALICE) & atoms.posture_bits(["posture:linux"])


def test_selectors_that_were_not_given_have_no_bit() -> None:
    selector = recognise("alice@example.com")
    assert selector is not None
    assert Atoms(parse("{}"), ()).bit(selector) == 0
