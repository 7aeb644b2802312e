"""Moves persistent flags to the front, because people (and scripts) write them anywhere on the line.

    users list -o json --tailnet=acme   ->   --output=json --tailnet=acme users list

As with pflag: `--flag value`, `--flag=value`, `-f value`, `-fvalue`, `-f=value`, switches as `--flag` or
`--flag=true`, joined short switches; `--` ends the flags. A flag of the command itself comes before a
persistent one of the same name (`nodes tag -t tag:x`), and may also stand before the command's name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import click

TRUE = {"1", "t", "T", "true", "TRUE", "True"}
FALSE = {"0", "f", "F", "false", "FALSE", "False"}

Options = Mapping[str, click.Option]
"""Options by each of their spellings."""


class Piece(NamedTuple):
    """One flag of a word. `option` is None for a flag that nobody knows, which keeps its `text`."""

    option: click.Option | None
    text: str
    value: str | None


def hoist(root: click.Group, words: Sequence[str]) -> list[str]:
    """The same line in the order that Click wants. Raises click.UsageError where a flag lacks its value."""
    command, path, others = _find(root, words)
    context = click.Context(command, info_name=" ".join(["headscale", *path]))
    own, persistent = _below(command), options_of(root)
    front: list[str] = []
    back: list[str] = []
    queue = iter(others)
    for word in queue:
        if word == "--":
            back += [word, *queue]
        elif not _is_flag(word):
            back.append(word)
        else:
            for piece in _pieces(word, {**persistent, **own}):
                is_persistent = piece.option in persistent.values()
                (front if is_persistent else back).extend(_written(piece, queue, context))
    return [*front, *path, *back]


def options_of(command: click.Command) -> dict[str, click.Option]:
    context = click.Context(command, **command.context_settings)
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    return {spelling: option for option in options for spelling in option.opts}


def _find(root: click.Group, words: Sequence[str]) -> tuple[click.Command, list[str], list[str]]:
    """The command that the words name, the words that name it, and the others in their order."""
    command: click.Command = root
    path: list[str] = []
    others: list[str] = []
    known = _below(root)
    queue = iter(words)
    for word in queue:
        others.append(word)
        if word == "--":
            others += queue
        elif _is_flag(word):
            if _wants_next(_pieces(word, known)):
                others += [value for value in [next(queue, None)] if value is not None]
        elif isinstance(command, click.Group):
            path.append(others.pop())
            found = command.get_command(click.Context(command), word)
            if found is None:  # Click will say so
                return command, path, [*others, *queue]
            command = found
            known = {**options_of(root), **_below(command)}
    return command, path, others


def _below(command: click.Command) -> dict[str, click.Option]:
    """The options of a command and of all below it. Of one spelling, one that takes a value is preferred."""
    found: dict[str, click.Option] = {}
    if isinstance(command, click.Group):
        for below in command.commands.values():  # without those that are loaded only when named
            for spelling, option in _below(below).items():
                if spelling not in found or found[spelling].is_flag:
                    found[spelling] = option
    return {**found, **options_of(command)}


def _is_flag(word: str) -> bool:
    return word.startswith("-") and word not in {"-", "--"}


def _wants_next(pieces: list[Piece]) -> bool:
    last = pieces[-1]
    return last.option is not None and not last.option.is_flag and last.value is None


def _pieces(word: str, options: Options) -> list[Piece]:
    """The flags of one word: one long flag, or short ones of which the last may have a value."""
    if word.startswith("--"):
        name, has_value, value = word.partition("=")
        return [Piece(options.get(name), word, value if has_value else None)]
    return list(_short_pieces(word, options))


def _short_pieces(word: str, options: Options) -> Iterator[Piece]:
    letters = word[1:]
    while letters:
        option, rest = options.get("-" + letters[0]), letters[1:]
        if option is None:
            yield Piece(None, "-" + letters, None)
            return
        if not option.is_flag or rest.startswith("="):
            yield Piece(option, "-" + letters[0], rest.removeprefix("=") if rest else None)
            return
        yield Piece(option, "-" + letters[0], None)
        letters = rest


def _written(piece: Piece, queue: Iterator[str], context: click.Context) -> list[str]:
    """The flag as Click reads it without doubt: long, with its value attached."""
    if piece.option is None:
        return [piece.text]
    name = max(piece.option.opts, key=len)
    if piece.option.is_flag:
        return [name] if _is_on(piece, context) else []
    value = next(queue, None) if piece.value is None else piece.value
    if value is None:
        raise click.UsageError(f"flag needs an argument: {piece.text}", context)
    return [f"{name}={value}"]


def _is_on(piece: Piece, context: click.Context) -> bool:
    if piece.value is None or piece.value in TRUE:
        return True
    if piece.value in FALSE:
        return False
    name = piece.text.partition("=")[0]
    raise click.UsageError(f'invalid argument "{piece.value}" for "{name}" flag: not true or false', context)
