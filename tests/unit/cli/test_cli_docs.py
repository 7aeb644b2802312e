"""docs/cli.md names every command, alias and flag that there is; docs/policy.md shows a policy."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from headscale_saas.cli.app import root
from headscale_saas.policy.language import parse

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "cli.md").read_text()


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def row_of(path: tuple[str, ...], command: click.Command) -> str:
    """The line about a command; for a group its heading."""
    name = " ".join(path)
    start = f"(`{name}`" if isinstance(command, click.Group) else f"| `{name}"
    found = [line for line in TEXT.splitlines() if start in line]
    assert found, f"{name} is not in docs/cli.md"
    return found[0]


def test_every_command_and_alias_is_described() -> None:
    for path, command in commands(root):
        if path == ("generate",):
            continue
        row = row_of(path, command)
        for alias in getattr(command, "aliases", ()):
            assert f"`{alias}`" in row, f"{' '.join(path)} {alias}"


def test_every_flag_is_described() -> None:
    for path, command in commands(root):
        for option in command.params:
            if isinstance(option, click.Option) and not (option.hidden or isinstance(command, click.Group)):
                name = "/".join(sorted(option.opts, key=len))
                assert f"`{name}" in row_of(path, command), f"{' '.join(path)} {name}"


def test_the_policy_that_is_shown_is_one() -> None:
    (text,) = re.findall(r"```hujson\n(.*?)```", (DOCS / "policy.md").read_text(), re.DOTALL)
    document = parse(text)
    assert document.acls
    assert document.acls[0].position.line == 12
    assert document.tests[0].position.line == 27
