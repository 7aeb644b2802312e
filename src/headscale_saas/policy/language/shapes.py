"""Values of the shape a place asks for. `null` is absence everywhere, and absence is an empty list."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf, isfinite
from typing import TypeVar

from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.values import Number, Value

T = TypeVar("T")

Fields = Mapping[str, Value]
"""Members of an object by their proper names; none of them is null."""


def spellings(*names: str, **legacy: str) -> Mapping[str, str]:
    """What members an object may have: lower-cased spelling to proper name. `legacy` are other words."""
    return {name.lower(): name for name in names} | legacy


def fields(value: Value, known: Mapping[str, str], *, ignored: str = "\0") -> Fields:
    """The members of an object; names count in any case, those that begin with `ignored` do not count."""
    found: dict[str, Value] = {}
    if value.data is None:
        raise _unexpected(value, "an object")
    for name, member in members(value):
        proper = known.get(name.lower())
        if proper is None:
            if name.startswith(ignored):
                continue
            raise member.name_refused(f"unknown field: {quoted(name)}")
        if proper in found:
            raise member.name_refused(f"duplicate member name {quoted(name)} (it means {quoted(proper)})")
        found[proper] = member
    return {name: member for name, member in found.items() if member.data is not None}


def members(value: Value | None) -> Iterator[tuple[str, Value]]:
    """The members of an object whose names are free."""
    data = value.data if value else None
    if value is None or data is None:
        return iter(())
    if not isinstance(data, dict):
        raise _unexpected(value, "an object")
    return iter(data.items())


def items(value: Value | None) -> Sequence[Value]:
    data = value.data if value else None
    if value is None or data is None:
        return ()
    if not isinstance(data, list):
        raise _unexpected(value, "an array")
    return data


def string(value: Value) -> str:
    if not isinstance(value.data, str):
        raise _unexpected(value, "a string")
    return value.data


def optional_string(value: Value | None) -> str:
    return string(value) if value else ""


def strings(value: Value | None) -> tuple[str, ...]:
    return tuple(string(item) for item in items(value))


def boolean(value: Value | None) -> bool:
    if value is None:
        return False
    if not isinstance(value.data, bool):
        raise _unexpected(value, "true or false")
    return value.data


def integer(value: Value | None) -> int:
    """A whole number of 32 bits; 0 if absent."""
    if value is None:
        return 0
    number = value.data.value() if isinstance(value.data, Number) else None
    if not isinstance(number, int) or abs(number) >= 1 << 31:
        raise _unexpected(value, "a whole number")
    return number


def number(value: Value | None) -> float | None:
    if value is None:
        return None
    found = float(value.data.value()) if isinstance(value.data, Number) else inf
    if not isfinite(found):
        raise _unexpected(value, "a finite number")
    return found


def read(value: Value, reader: Callable[[str], T], *, before: str = "") -> T:
    """What `reader` makes of the string; if it raises Malformed, the policy is refused with those words."""
    word = string(value)
    try:
        return reader(word)
    except Malformed as malformed:
        raise value.refused(before + str(malformed)) from None


def _unexpected(value: Value, wanted: str) -> Exception:
    kinds = {type(None): "null", bool: "true or false", str: "a string", Number: "a number", list: "an array"}
    return value.refused(f"expected {wanted}, got {kinds.get(type(value.data), 'an object')}")
