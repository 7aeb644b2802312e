"""What a device tells of itself, and which postures it satisfies."""

import pytest
from msgspec.structs import replace

from headscale_saas.policy.language.document import Assertion
from headscale_saas.policy.postures import attributes_of, compare_versions, holding, holds
from headscale_saas.tailcfg.hostinfo import Hostinfo
from tailnets import make_node

LAPTOP = Hostinfo(
    os="macOS",
    os_version="14.5.0",
    ipn_version="1.80.3-tdeadbeef-g1234567",
    allows_update=True,
    state_encrypted=False,
)


def test_attributes_are_what_the_node_reported() -> None:
    assert attributes_of(replace(make_node(1), hostinfo=LAPTOP)) == {
        "node:os": "macos",
        "node:osVersion": "14.5.0",
        "node:tsAutoUpdate": True,
        "node:tsReleaseTrack": "stable",
        "node:tsStateEncrypted": False,
        "node:tsVersion": "1.80.3",
    }


def test_what_was_not_reported_is_not_set() -> None:
    assert attributes_of(replace(make_node(1), hostinfo=Hostinfo())) == {"node:tsAutoUpdate": False}


def test_odd_releases_are_unstable() -> None:
    node = replace(make_node(1), hostinfo=Hostinfo(ipn_version="1.81.12-t1"))
    assert attributes_of(node)["node:tsReleaseTrack"] == "unstable"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.8.0", "1.10.0"),
        ("1.40", "1.40.0"),
        ("1.40.0", "1.40.1"),
        ("10.0.19045.1", "10.0.22000"),
        ("", "0.1"),
        ("5.15.0", "5.15.0-91"),
    ],
)
def test_versions_are_compared_number_by_number(older: str, newer: str) -> None:
    assert compare_versions(older, newer) < 0 < compare_versions(newer, older)
    assert compare_versions(older, older) == 0


ATTRIBUTES = {"node:os": "linux", "node:tsVersion": "1.9.0", "custom:tier": 3, "custom:managed": True}


@pytest.mark.parametrize(
    ("attribute", "operator", "values", "expected"),
    [
        ("node:os", "==", ("linux",), True),
        ("node:os", "!=", ("linux",), False),
        ("node:os", "!=", ("windows",), True),
        ("node:os", "IN", ("macos", "linux"), True),
        ("node:os", "NOT IN", ("macos", "linux"), False),
        ("node:os", "NOT IN", ("macos",), True),
        ("node:tsVersion", ">=", ("1.10.0",), False),
        ("node:tsVersion", "<", ("1.10.0",), True),
        ("custom:tier", ">=", (3,), True),
        ("custom:tier", ">", (3,), False),
        ("custom:tier", "==", (3.0,), True),
        ("custom:tier", "<", ("4",), False),
        ("custom:managed", "==", (True,), True),
        ("custom:managed", "==", (1,), False),
        ("custom:managed", ">=", (0,), False),
        ("node:os", "<", ("windows",), False),
        ("node:os", "IS SET", (), True),
        ("node:os", "NOT SET", (), False),
        ("ip:country", "IS SET", (), False),
        ("ip:country", "NOT SET", (), True),
    ],
)
def test_one_assertion(attribute: str, operator: str, values: tuple[str, ...], expected: bool) -> None:
    assert holds([Assertion(attribute, operator, values)], ATTRIBUTES) is expected


@pytest.mark.parametrize("operator", ["==", "!=", "IN", "NOT IN", "<", "<=", ">", ">="])
def test_what_is_not_set_fails_whatever_is_asked_of_its_value(operator: str) -> None:
    assert not holds([Assertion("custom:unknown", operator, ("x",))], ATTRIBUTES)


def test_all_assertions_must_hold() -> None:
    linux = Assertion("node:os", "==", ("linux",))
    new = Assertion("node:tsVersion", ">=", ("1.60",))
    assert holds([linux], ATTRIBUTES)
    assert not holds([linux, new], ATTRIBUTES)
    assert holds([], ATTRIBUTES)


def test_the_postures_that_a_node_satisfies() -> None:
    postures = {
        "posture:linux": (Assertion("node:os", "==", ("linux",)),),
        "posture:mac": (Assertion("node:os", "==", ("macos",)),),
        "posture:none": (),
    }
    assert list(holding(postures, make_node(1))) == ["posture:linux", "posture:none"]
