"""Whether a device fits a posture (section 14 of the specification)."""

import re
from collections.abc import Mapping
from typing import Any

from tests.policy_oracle.world import Device, Policy

OPERATORS = "==|!=|<=|>=|<|>|NOT IN|IN|IS SET|NOT SET"
VERSIONS = ("node:osVersion", "node:tsVersion")
ORDERED = ("<", "<=", ">", ">=")


def fits(policy: Policy, rule: Mapping[str, Any], device: Device) -> bool:
    """Whether the rule is for sources such as this device, as far as postures are concerned."""
    names = rule.get("srcPosture")
    if names is None:
        names = policy.get("defaultSrcPosture", [])
    return not names or any(holds(policy["postures"][name], device.facts) for name in names)


def holds(assertions: list[str], facts: Mapping[str, Any]) -> bool:
    return all(_holds(assertion, facts) for assertion in assertions)


def _holds(assertion: str, facts: Mapping[str, Any]) -> bool:
    match = re.fullmatch(rf"(\S+)\s+({OPERATORS})\s*(.*)", assertion.strip(), re.I)
    assert match, assertion
    name, operator, wanted = match[1], match[2].upper(), match[3].strip()
    value = facts.get(name)
    if operator in ("IS SET", "NOT SET"):
        return (value is not None) == (operator == "IS SET")
    if value is None:
        return False
    if operator in ("IN", "NOT IN"):
        among = value in [_value(one) for one in wanted.strip("[]").split(",")]
        return among == (operator == "IN")
    return _compare(value, operator, _value(wanted), is_version=name in VERSIONS)


def _compare(value: Any, operator: str, wanted: Any, *, is_version: bool) -> bool:
    if is_version and operator in ORDERED:
        value, wanted = _version(value), _version(wanted)
    return bool(
        {
            "==": lambda: value == wanted,
            "!=": lambda: value != wanted,
            "<": lambda: value < wanted,
            "<=": lambda: value <= wanted,
            ">": lambda: value > wanted,
            ">=": lambda: value >= wanted,
        }[operator]()
    )


def _value(text: str) -> Any:
    text = text.strip()
    if text.startswith("'"):
        return text.strip("'")
    return text == "true" if text in ("true", "false") else float(text)


def _version(text: str) -> tuple[int, ...]:
    """Missing parts count as 0."""
    numbers = [int(number) for number in re.findall(r"\d+", text)][:4]
    return tuple(numbers + [0] * (4 - len(numbers)))
