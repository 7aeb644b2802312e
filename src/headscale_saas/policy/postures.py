"""Device postures: what a node says of itself, and whether that satisfies a posture's assertions."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import ge, gt, le, lt
from types import MappingProxyType

from headscale_saas.policy.language.document import Assertion
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailnet.model import Node

Value = str | bool | float | int
Attributes = Mapping[str, Value]

OS = "node:os"
OS_VERSION = "node:osVersion"
AUTO_UPDATE = "node:tsAutoUpdate"
RELEASE_TRACK = "node:tsReleaseTrack"
STATE_ENCRYPTED = "node:tsStateEncrypted"
VERSION = "node:tsVersion"

VERSIONS = frozenset({OS_VERSION, VERSION})
"""The texts that are compared as versions; other texts have no order."""

_ORDERS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<": lt, "<=": le, ">": gt, ">=": ge}
)
_FIELDS = re.compile(r"([^0-9]*)([0-9]*)")
_RELEASE = re.compile(r"\d+\.(\d+)\.")


def attributes_of(node: Node) -> Attributes:
    """What the node itself reported. What it did not report is not in it.

    Not known here: `ip:country`, attributes set by hand (`custom:`) and those of integrations.
    """
    info = node.hostinfo
    told: dict[str, Value | None] = {
        OS: info.os.lower() or None,
        OS_VERSION: info.os_version or None,
        AUTO_UPDATE: info.allows_update,
        RELEASE_TRACK: _release_track(info),
        STATE_ENCRYPTED: info.state_encrypted,
        VERSION: info.ipn_version.partition("-")[0] or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def holding(postures: Mapping[str, Iterable[Assertion]], node: Node) -> Iterator[str]:
    """The names of the postures that the node satisfies."""
    attributes = attributes_of(node)
    return (name for name, assertions in postures.items() if holds(assertions, attributes))


def holds(assertions: Iterable[Assertion], attributes: Attributes) -> bool:
    """Whether all of them hold. An attribute that is not set fails all but `IS SET` and `NOT SET`."""
    return all(_holds(assertion, attributes.get(assertion.attribute)) for assertion in assertions)


def compare_versions(left: str, right: str) -> int:
    """Below, at or above 0, in the order of releases (`util/cmpver/version.go:Compare`).

    Runs of digits are compared as numbers, what stands between them as text, pair by pair; so 1.8 < 1.10,
    and 1.40 < 1.40.0.
    """
    while left or right:
        (text, number), left = _first_field(left)
        (other_text, other_number), right = _first_field(right)
        if (text, number) != (other_text, other_number):
            return -1 if (text, number) < (other_text, other_number) else 1
    return 0


def _holds(assertion: Assertion, value: Value | None) -> bool:
    if assertion.operator in ("IS SET", "NOT SET"):
        return (value is not None) == (assertion.operator == "IS SET")
    if value is None:
        return False
    if assertion.operator in _ORDERS:
        return all(_is_ordered(assertion, value, wanted) for wanted in assertion.values)
    is_listed = any(_is_equal(value, wanted) for wanted in assertion.values)
    return is_listed == (assertion.operator in ("==", "IN"))


def _is_equal(value: Value, wanted: Value) -> bool:
    """As JSON has it: `true` is not 1."""
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _is_ordered(assertion: Assertion, value: Value, wanted: Value) -> bool:
    compare = _ORDERS[assertion.operator]
    if isinstance(value, bool) or isinstance(wanted, bool):
        return False
    if isinstance(value, str) and isinstance(wanted, str):
        return assertion.attribute in VERSIONS and compare(compare_versions(value, wanted), 0)
    if isinstance(value, str) or isinstance(wanted, str):
        return False
    return compare(value, wanted)


def _first_field(version: str) -> tuple[tuple[str, int], str]:
    found = _FIELDS.match(version)
    assert found is not None
    return (found[1], int(found[2] or 0)), version[found.end() :]


def _release_track(info: Hostinfo) -> str | None:
    """Releases with an even second number are stable (`version/prop.go:IsUnstableBuild`)."""
    found = _RELEASE.match(info.ipn_version)
    if found is None:
        return None
    return "stable" if int(found[1]) % 2 == 0 else "unstable"
