"""What is printed: text and tables for people, or JSON and YAML as headscale 0.29 prints them.

JSON is what Go's encoding/json makes of protobuf structs: snake_case, zero values left out, numbers as
numbers; `json` is indented with tabs. YAML has Go's field names in lower case and zero values. The one
difference: an empty list is `[]`, where headscale prints `null`.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import zip_longest

import msgspec
import yaml
from rich.console import Console
from rich.text import Text

from headscale_saas.cli.messages import Timestamp

FORMATS = ("", "json", "json-line", "yaml")
Cell = str | Text
# Go's, and what a terminal would obey or be turned around by: to a program it is the same text.
CONTROLS = (*range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
ESCAPES = {number: f"\\u{number:04x}" for number in (*map(ord, "<>&\u2028\u2029"), *CONTROLS)}
ESCAPES_OF_YAML = {number: f"\\u{number:04X}" for number in CONTROLS}


def encoded(value: object, style: str) -> str:
    """`value` is made of messages, lists, dicts and scalars; `style` is one of FORMATS but the first."""
    if style == "yaml":
        return _yaml(_for_yaml(value))
    compact = style == "json-line"
    text = json.dumps(
        msgspec.to_builtins(value),
        ensure_ascii=False,
        indent=None if compact else "\t",
        separators=(",", ":") if compact else None,
    )
    return text.translate(ESCAPES)


class _Dumper(yaml.SafeDumper):
    """Quotes what has to be escaped: YAML has no escapes outside of quotes."""


def _scalar(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(ord(sign) in ESCAPES_OF_YAML for sign in text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _scalar)


def _yaml(value: object) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    return text.rstrip("\n").translate(ESCAPES_OF_YAML)


def _for_yaml(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return {name.replace("_", ""): _for_yaml(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [_for_yaml(item) for item in value]
    return value.value if isinstance(value, Enum) else value


class Printer:
    """Writes results to stdout in the format that `-o` asked for, everything else to stderr."""

    def __init__(self, style: str = "") -> None:
        self.style = style

    def result(self, value: object, text: str) -> None:
        """The value for machines, or the text for people."""
        print(encoded(value, self.style) if self.style else text)

    def table(self, value: object, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        if self.style:
            print(encoded(value, self.style))
            return
        console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        for line in table([[Text(column, "cyan") for column in columns], *rows]):
            console.print(line)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def error(self, message: str, usage: str = "") -> None:
        """`usage` only for people: a machine gets one object and nothing else."""
        if self.style:
            print(encoded({"error": message}, self.style), file=sys.stderr)
            return
        print("Error: " + "\n".join(map(clean, message.split("\n"))), file=sys.stderr)
        if usage:
            print(usage, file=sys.stderr)


def table(rows: Iterable[Sequence[Cell]]) -> Iterator[Text]:
    """Columns as wide as they need to be, never cut or wrapped: scripts read them, terminals can scroll."""
    grid = [[(Text(cell) if isinstance(cell, str) else cell).split("\n") for cell in row] for row in rows]
    widths = [max(line.cell_len for cell in column for line in cell) for column in zip(*grid, strict=True)]
    for row in grid:
        for parts in zip_longest(*row, fillvalue=Text()):
            line = Text(" | ").join(_padded(part, width) for part, width in zip(parts, widths, strict=True))
            line.rstrip()
            yield line


def _padded(text: Text, width: int) -> Text:
    padded = text.copy()
    padded.pad_right(width - text.cell_len)
    return padded


def clean(text: str) -> str:
    """Names come from devices: what a terminal would obey is shown instead."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)


def lines_of(text: str) -> str:
    """A longer text that people wrote, cleaned, with its lines and tabs."""
    return "".join(sign if sign in "\n\t" else clean(sign) for sign in text)


def lines(items: Iterable[str]) -> str:
    """Several values in one cell."""
    return "\n".join(map(clean, items))


def moment(time: Timestamp | None, absent: str = "N/A") -> str:
    return time.as_datetime().strftime("%Y-%m-%d %H:%M:%S") if time else absent


def good(text: str) -> Text:
    return Text(text, "bright_green")


def bad(text: str) -> Text:
    return Text(text, "bright_red")


def yes_or_no(value: bool) -> str:
    """Go's spelling."""
    return "true" if value else "false"
