"""Imports point downwards only: the table of rooms, and what each may import besides itself and errors."""

import sys

import pytest

from rules.layers import BELOW, DATABASE, FROM_LEVEL_TWO, IMPURE, LOW, MAY_SPEAK_SQL, PROGRAMS, PURE
from rules.source import MODULES, PACKAGE, Module


def is_below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def allowed(module: Module, name: str) -> bool:
    wanted = [module.room, "errors", *BELOW[module.room].split()]
    if module.room not in LOW:
        wanted += FROM_LEVEL_TWO
    return any(is_below(name, f"{PACKAGE}.{prefix}") for prefix in wanted)


def test_every_room_is_in_the_table() -> None:
    assert {module.room for module in MODULES if module.room} <= set(BELOW) | PROGRAMS


@pytest.mark.parametrize("room", BELOW)
def test_imports_point_downwards(room: str) -> None:
    wrong = [
        f"{module.at(line)} imports {name}"
        for module in MODULES
        if module.room == room
        for line, name in module.imports
        if is_below(name, PACKAGE) and not allowed(module, name)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", sorted(PURE))
def test_pure_rooms_know_no_world(room: str) -> None:
    wrong = [
        f"{module.at(line)} imports {name}"
        for module in MODULES
        if module.room == room
        for line, name in module.imports
        if any(is_below(name, banned) for banned in IMPURE)
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_store_speaks_sql() -> None:
    wrong = [
        f"{module.at(line)} imports {name}"
        for module in MODULES
        if module.room not in MAY_SPEAK_SQL
        for line, name in module.imports
        if name.split(".")[0] in DATABASE
    ]
    assert not wrong, "\n".join(wrong)


def test_the_table_has_no_circle() -> None:
    seen: list[str] = []
    for room, below in BELOW.items():
        assert all(lower.split(".")[0] in seen for lower in below.split()), room
        seen.append(room)


def test_the_banned_names_exist() -> None:
    """A misspelt ban bans nothing."""
    ours = {"structlog", "uvloop", "uvicorn", *DATABASE}
    assert {name.split(".")[0] for name in IMPURE - ours} <= sys.stdlib_module_names
