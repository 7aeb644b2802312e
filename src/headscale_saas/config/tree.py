"""The settings as a tree of names, and what a document says that is not in it."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from headscale_saas.config.root import Config
from headscale_saas.config.settings import Section


@dataclass(frozen=True)
class Setting:
    """`path` is the key as written in YAML, with dots. `section` is the model that holds it."""

    path: str
    field: FieldInfo
    section: type[Section]

    @property
    def environment(self) -> str:
        return "HEADSCALE_" + self.path.upper().replace(".", "_")

    def note(self, kind: str) -> str:
        notes = self.field.json_schema_extra
        return str(notes.get(kind, "")) if isinstance(notes, dict) else ""


def inner_section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def all_settings(section: type[Section] = Config, prefix: str = "") -> Iterator[Setting]:
    for name, field in section.model_fields.items():
        path = prefix + (field.alias or name)
        if inner := inner_section(field):
            yield from all_settings(inner, path + ".")
        else:
            yield Setting(path, field, section)


SETTINGS = {setting.path: setting for setting in all_settings()}
SECTIONS = {".".join(path.split(".")[:depth]) for path in SETTINGS for depth in range(1, path.count(".") + 1)}


def flatten(document: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`(path, value)` of every leaf. Names in a file are read without regard to case, as headscale does."""
    for name, value in document.items():
        path = prefix + str(name).lower()
        if isinstance(value, Mapping) and path not in SETTINGS:
            yield from flatten(value, path + ".")
        elif not (value is None and path in SECTIONS):
            yield path, value


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, name = path.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return document


def nearest(path: str) -> str | None:
    close = difflib.get_close_matches(path, SETTINGS, n=1, cutoff=0.75)
    return close[0] if close else None
