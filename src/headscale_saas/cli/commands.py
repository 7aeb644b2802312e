"""Commands in cobra's manner: aliases, `required flag(s) "x" not set`, global flags in every help."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from headscale_saas.cli.flags import options_of

F = TypeVar("F", bound=Callable[..., Any])
HELP = {"help_option_names": ["-h", "--help"]}


class Command(click.Command):
    """`aliases` are other names it answers to; `deprecated_for` says what to use instead."""

    def __init__(self, *args: Any, aliases: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", HELP)
        super().__init__(*args, **kwargs)
        self.aliases = tuple(aliases)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as problem:
            raise click.UsageError(self._missing(ctx, given, problem), ctx) from None

    def _missing(self, ctx: click.Context, given: list[str], problem: click.MissingParameter) -> str:
        """Names all missing flags at once; arguments have no names in headscale."""
        if not isinstance(problem.param, click.Option):
            return "missing parameters"
        seen, _, _ = self.make_parser(ctx).parse_args(given)
        missing = {
            long_name(option)
            for option in options_of(self).values()
            if option.required and option.name not in seen
        }
        return "required flag(s) " + ", ".join(f'"{name}"' for name in sorted(missing)) + " not set"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.aliases:
            with formatter.section("Aliases"):
                formatter.write_text(", ".join([str(self.name), *self.aliases]))
        super().format_options(ctx, formatter)
        root = ctx.find_root()
        if ctx is not root:
            options = [option for option in root.command.get_params(root) if not option.is_eager]
            records = [option.get_help_record(root) for option in options]
            with formatter.section("Global Flags"):
                formatter.write_dl([record for record in records if record])


class Group(Command, click.Group):
    """Finds commands by name or alias; alone on the line it prints its help."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("invoke_without_command", True)
        super().__init__(*args, **kwargs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for command in self.commands.values():
            if cmd_name == command.name or cmd_name in getattr(command, "aliases", ()):
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f'unknown command "{args[0]}" for "{ctx.command_path}"', ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())
        return result


def long_name(option: click.Option) -> str:
    return max(option.opts, key=len).lstrip("-")


def whole_number(ctx: click.Context, param: click.Parameter, value: str | int | None) -> int | None:
    """The callback of flags and arguments that are ids or counts."""
    if value is None or isinstance(value, int):
        return value
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        name = (
            f'"{", ".join(param.opts)}" flag'
            if isinstance(param, click.Option)
            else param.human_readable_name
        )
        raise click.UsageError(f'invalid argument "{value}" for {name}: not a whole number', ctx)
    return int(value)


def words(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[str]:
    """The callback of flags that are lists: commas, or the flag several times; "" adds nothing."""
    return [word.strip() for given in value for word in given.split(",") if word.strip()]


def identifier(meaning: str, *, required: bool = True, long: str = "--identifier") -> Callable[[F], F]:
    """The flag that says which one: `-i`."""
    return click.option(
        "-i", long, "identifier", callback=whole_number, metavar="ID", required=required, help=meaning
    )


def said(problem: click.ClickException) -> str:
    """The mistake in the words that cobra has for it."""
    match problem:
        case click.NoSuchOption(option_name=name) if name.startswith("--"):
            return f"unknown flag: {name}"
        case click.NoSuchOption(option_name=name):
            return f"unknown shorthand flag: {name[1:2]!r} in {name}"
        case click.MissingParameter(param=click.Option() as option):
            return f'required flag(s) "{long_name(option)}" not set'
        case click.BadParameter(param=click.Option() as option):
            return f'invalid argument for "{", ".join(option.opts)}" flag: {problem.message}'
        case _:
            return problem.message[:1].lower() + problem.message[1:]
