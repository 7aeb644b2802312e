"""`postures`: conditions on the device a connection comes from, and `attrConfig`."""

import re
from collections.abc import Mapping

from headscale_saas.policy.language.document import Assertion, AttributeConfig
from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.shapes import (
    boolean,
    fields,
    items,
    members,
    optional_string,
    read,
    spellings,
)
from headscale_saas.policy.language.values import Value

NODE_ATTRIBUTES = frozenset(
    "node:" + name
    for name in ("os", "osVersion", "tsAutoUpdate", "tsReleaseTrack", "tsStateEncrypted", "tsVersion")
)
VERSIONS = frozenset({"node:osVersion", "node:tsVersion"})

_ASSERTION = re.compile(
    r"([A-Za-z][A-Za-z0-9_-]*:[A-Za-z0-9_.-]+)"
    r"\s*(==|!=|<=|>=|<|>|\bNOT\s+IN\b|\bIN\b|\bIS\s+SET\b|\bNOT\s+SET\b)\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_VALUE = re.compile(r"'([^']*)'|(true|false)\b|(-?[0-9]{1,18}(?:\.[0-9]{1,18})?)(?![\w.])", re.IGNORECASE)
_COMMA = re.compile(r"\s*,\s*")
_ORDER = ("<", "<=", ">", ">=")
_CONFIG = spellings("type", "allowSetByNode", "broadcastToPeers")
_TYPES = ("string", "number", "bool", "boolean", "")
MAX_LENGTH = 4096

Operand = str | bool | float


def read_postures_section(value: Value | None) -> Mapping[str, tuple[Assertion, ...]]:
    return {name: _posture(name, assertions) for name, assertions in members(value)}


def _posture(name: str, value: Value) -> tuple[Assertion, ...]:
    if not name.startswith("posture:") or name == "posture:":
        raise value.name_refused(f"posture must start with 'posture:', got: {quoted(name)}")
    return tuple(read(item, parse_assertion) for item in items(value))


def parse_assertion(text: str) -> Assertion:
    """`node:os IN ['macos', 'linux']`, `node:tsVersion >= '1.40'`, `custom:x IS SET` … Raises Malformed."""
    found = _ASSERTION.fullmatch(text.strip()) if len(text) <= MAX_LENGTH else None
    if not found:
        raise Malformed(f"posture assertion {quoted(text)}: expected <attribute> <operator> <value>")
    attribute, operator, rest = found.groups()
    operator = " ".join(operator.upper().split())
    _check_attribute(attribute, text)
    assertion = Assertion(attribute, operator, _operands(operator, rest, text))
    _check_order(assertion, text)
    return assertion


def _check_attribute(attribute: str, text: str) -> None:
    if attribute.startswith("node:") and attribute not in NODE_ATTRIBUTES:
        raise Malformed(f"posture assertion {quoted(text)}: unknown attribute {quoted(attribute)}")


def _operands(operator: str, rest: str, text: str) -> tuple[Operand, ...]:
    if operator in ("IS SET", "NOT SET"):
        values: tuple[Operand, ...] | None = None if rest else ()
    elif operator in ("IN", "NOT IN"):
        values = _values(rest[1:-1].strip()) if rest[:1] == "[" and rest[-1:] == "]" else None
    else:
        values = _values(rest)
        values = values if values and len(values) == 1 else None
    if values is None:
        is_bare = rest and "'" not in rest
        hint = "; texts stand in single quotes, as in node:os == 'macos'" if is_bare else ""
        raise Malformed(f"posture assertion {quoted(text)}: invalid value after {operator}{hint}")
    return values


def _values(text: str) -> tuple[Operand, ...] | None:
    """Values separated by commas, at least one; None if it is something else."""
    values: list[Operand] = []
    at = 0
    while found := _VALUE.match(text, at):
        values.append(_operand(found))
        if found.end() == len(text):
            return tuple(values)
        comma = _COMMA.match(text, found.end())
        at = comma.end() if comma else len(text)
    return None


def _operand(found: re.Match[str]) -> Operand:
    string, truth, number = found.groups()
    if string is not None:
        return str(string)
    return truth.lower() == "true" if truth else float(number)


def _check_order(assertion: Assertion, text: str) -> None:
    if assertion.operator not in _ORDER:
        return
    wanted = str if assertion.attribute in VERSIONS else float
    if not isinstance(assertion.values[0], wanted):
        what = "a version in quotes" if wanted is str else "a number"
        raise Malformed(f"posture assertion {quoted(text)}: {assertion.operator} needs {what}")


def read_attribute_config(value: Value | None) -> Mapping[str, AttributeConfig]:
    return {name: _attribute_config(name, member) for name, member in members(value)}


def _attribute_config(name: str, value: Value) -> AttributeConfig:
    config = fields(value, _CONFIG)
    if not name.removeprefix("custom:") or not name.startswith("custom:"):
        raise value.name_refused(f"attrConfig: {quoted(name)} does not start with 'custom:'")
    kind = optional_string(config.get("type"))
    if kind not in _TYPES:
        raise config["type"].refused(f"attrConfig: type {quoted(kind)} is not known")
    return AttributeConfig(
        type=kind,
        allow_set_by_node=boolean(config.get("allowSetByNode")),
        broadcast_to_peers=boolean(config.get("broadcastToPeers")),
    )
