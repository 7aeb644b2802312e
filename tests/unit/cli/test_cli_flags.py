"""Persistent flags stand anywhere on the line; a command's own flags and all values stay what they are."""

from collections.abc import Sequence

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.cli.app import root
from headscale_saas.cli.flags import hoist


@pytest.mark.parametrize(
    ("line", "hoisted"),
    [
        ("users list -o json", "--output=json users list"),
        ("users -o json list", "--output=json users list"),
        ("-o=json users list", "--output=json users list"),
        ("users list -ojson --config=x.yaml", "--output=json --config=x.yaml users list"),
        ("users list --tailnet acme", "--tailnet=acme users list"),
        ("users list -t acme", "--tailnet=acme users list"),
        ("nodes delete -i 1 --force", "--force nodes delete --identifier=1"),
        ("nodes delete -i 1 --force=true", "--force nodes delete --identifier=1"),
        ("nodes delete -i 1 --force=false", "nodes delete --identifier=1"),
        ("nodes delete --force -i=1", "--force nodes delete --identifier=1"),
        ("nodes expire -di 7", "nodes expire --disable --identifier=7"),
        ("pre create --reusable=true --ephemeral=false", "pre create --reusable"),
    ],
)
def test_every_spelling_of_a_flag(line: str, hoisted: str) -> None:
    assert hoist(root, line.split()) == hoisted.split()


@pytest.mark.parametrize(
    ("line", "hoisted"),
    [
        ("nodes tag -i 1 -t tag:x", "nodes tag --identifier=1 --tags=tag:x"),
        ("node t -t tag:x -i 1 --tailnet acme", "--tailnet=acme node t --tags=tag:x --identifier=1"),
        ("users create -d -o bob", "users create --display-name=-o bob"),
        ("users list -n --force", "users list --name=--force"),
        ("users rename -n json -r yaml", "users rename --name=json --new-name=yaml"),
        ("preauthkeys -u 1 create", "preauthkeys create --user=1"),
        ("--user alice nodes list -o json", "--output=json nodes list --user=alice"),
    ],
)
def test_the_flags_and_values_of_a_command_stay_its_own(line: str, hoisted: str) -> None:
    assert hoist(root, line.split()) == hoisted.split()


def test_nothing_after_two_hyphens_is_a_flag() -> None:
    words = ["users", "create", "-o", "json", "--", "-o", "--force"]
    assert hoist(root, words) == ["--output=json", "users", "create", "--", "-o", "--force"]


@pytest.mark.parametrize("words", [["users", "list", "-o"], ["-c"], ["nodes", "tag", "-i"]])
def test_a_flag_without_its_value_is_a_mistake(words: Sequence[str]) -> None:
    with pytest.raises(click.UsageError, match="flag needs an argument: -"):
        hoist(root, words)


def test_a_switch_is_true_or_false() -> None:
    with pytest.raises(click.UsageError, match='invalid argument "perhaps" for "--force" flag'):
        hoist(root, ["nodes", "delete", "--force=perhaps"])


LINES = st.sampled_from(
    [
        (["users", "list"], [["-n", "alice"]]),
        (["users", "create"], [["bob"], ["-e", "b@example.com"], ["--display-name=-o json"]]),
        (["node", "tag"], [["-i", "1"], ["-t", "tag:a,tag:b"], ["--tags=tag:c"]]),
        (["nodes", "exp"], [["-i=3"], ["-d"]]),
        (["pre", "new"], [["--reusable"], ["-u", "1"], ["-e24h"], ["--tags", "tag:a"]]),
        (["api", "e"], [["--prefix", "--force"]]),
        (["health"], []),
    ]
)
PERSISTENT = st.fixed_dictionaries(
    {},
    optional={
        "output": st.sampled_from(
            [["-o", "json"], ["-ojson"], ["-o=json"], ["--output", "json"], ["--output=json"]]
        ),
        "config": st.sampled_from([["-c", "a.yaml"], ["--config=a.yaml"], ["-c=a.yaml"]]),
        "force": st.sampled_from([["--force"], ["--force=true"], ["--force=1"]]),
        "tailnet": st.sampled_from([["--tailnet", "acme"], ["--tailnet=acme"]]),
    },
)


def parsed(words: Sequence[str]) -> list[tuple[str | None, dict[str, object]]]:
    """What Click understands: each command of the line with its parameters."""
    found = []
    command: click.Command = root
    rest = list(hoist(root, words))
    parent = None
    while True:
        context = command.make_context(command.name, list(rest), parent)
        found.append((command.name, dict(context.params)))
        if not isinstance(command, click.Group):
            return found
        rest = [*context._protected_args, *context.args]
        _, command, rest = command.resolve_command(context, rest)  # type: ignore[assignment]
        parent = context


@given(line=LINES, persistent=PERSISTENT, data=st.data())
def test_where_persistent_flags_stand_changes_nothing(
    line: tuple[list[str], list[list[str]]], persistent: dict[str, list[str]], data: st.DataObject
) -> None:
    """Anywhere between the words of the line, in any order and spelling."""
    path, own = line
    units = [[word] for word in path] + own
    expected = parsed(
        [word for unit in persistent.values() for word in unit] + [word for unit in units for word in unit]
    )
    for flag in data.draw(st.permutations(list(persistent.values()))):
        units.insert(data.draw(st.integers(0, len(units))), flag)
    assert parsed([word for unit in units for word in unit]) == expected


COMMANDS = ["users", "list", "nodes", "tag", "json", "1", "=", "-", "--", ""]
FLAGS = ["-o", "-o=", "-t", "-i", "-xo", "--x", "--force", "--force=x", "--tailnet="]
ANY_WORD = st.sampled_from(COMMANDS + FLAGS)


@given(st.lists(ANY_WORD, max_size=8))
def test_no_line_breaks_it(words: list[str]) -> None:
    try:
        hoisted = hoist(root, words)
    except click.UsageError:
        return
    assert hoist(root, hoisted) == hoisted
