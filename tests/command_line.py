"""Runs the command line in this process: against one database, with its own state directory."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headscale_saas.cli import main


class Said(NamedTuple):
    status: int
    out: str
    err: str


class CommandLine:
    """`cli("users", "list")` or `cli("users list")`; `ok` and `json` expect success, `fails` an error."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = config
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        given = words[0].split() if len(words) == 1 else list(words)
        self._capsys.readouterr()
        status = main(["--config", str(self.config), *given])
        printed = self._capsys.readouterr()
        return Said(status, printed.out, printed.err)

    def ok(self, *words: str) -> str:
        """What it prints, without the last line end; stderr stays empty."""
        said = self(*words)
        assert (said.status, said.err) == (0, "")
        return said.out.removesuffix("\n")

    def json(self, *words: str) -> Any:
        given = words[0].split() if len(words) == 1 else list(words)
        return json.loads(self.ok(*given, "-o", "json"))

    def fails(self, *words: str) -> str:
        """The one line that says why not; nothing on stdout."""
        said = self(*words)
        assert (said.status, said.out) == (1, "")
        assert said.err.startswith("Error: ")
        return said.err.removeprefix("Error: ").removesuffix("\n")

    def table(self, *words: str) -> list[dict[str, str]]:
        """The rows of a table by column; lines that continue a row are rows of their own."""
        head, *rows = [[cell.strip() for cell in line.split(" | ")] for line in self.ok(*words).splitlines()]
        return [dict(zip(head, row + [""] * (len(head) - len(row)), strict=True)) for row in rows]


def with_a_tailnet(dsn: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """On a fresh database, with the default tailnet; files of the test may lie beside its configuration."""
    config = directory / "config.yaml"
    config.write_text(f"database:\n  url: {dsn}\nstate_dir: {directory}\n")
    cli = CommandLine(config, capsys)
    cli.ok("clusters create 1 one")
    cli.ok("tailnets create default")
    return cli
