"""`headscale-saas swarm`: load for a server of one's own."""

import asyncio
import sys
from pathlib import Path

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from headscale_saas.errors import Error
from headscale_saas.swarm.crowd import run
from headscale_saas.swarm.plan import MAX_CLIENTS, MAX_SECONDS, PHASES, Plan
from headscale_saas.swarm.report import Report


@click.command("swarm", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", required=True, help="The control server, http://HOST:PORT.")
@click.option("--key", "keys", default="", help="Reusable auth keys, one for each tailnet: K1,K2,…")
@click.option("--key-file", type=click.Path(dir_okay=False, path_type=Path), help="The same, one a line.")
@click.option("--clients", default=100, show_default=True, type=click.IntRange(1, MAX_CLIENTS))
@click.option("--tailnets", type=click.IntRange(1), help="Use only the first N keys.")
@click.option(
    "--phases", default="join,visible,endpoint,storm", show_default=True, help=f"Of {', '.join(PHASES)}."
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.option(
    "--concurrency", default=16, show_default=True, type=click.IntRange(1, 1000), help="Joins at a time."
)
@click.option(
    "--decode", default=0.05, show_default=True, type=click.FloatRange(0, 1), help="Share that checks all."
)
@click.option(
    "--pause", default=1.0, show_default=True, type=click.FloatRange(0, 60), help="Between rounds, seconds."
)
@click.option("--max-seconds", default=900.0, show_default=True, type=click.FloatRange(1, MAX_SECONDS))
@click.option(
    "--label", default="swarm", show_default=True, help="The same for all runs against the same tailnets."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--i-own-this-server", "own_server", is_flag=True, help="Allow an address that is not private.")
def command(
    url: str,
    keys: str,
    key_file: Path | None,
    clients: int,
    tailnets: int | None,
    phases: str,
    rounds: int,
    concurrency: int,
    decode: float,
    pause: float,
    max_seconds: float,
    label: str,
    as_json: bool,
    own_server: bool,
) -> None:
    """Put load on a server with simulated clients. Prints how long it took until all had heard of a change.

    Exits with 1 if a client was lost, missed something, or was told of a tailnet that is not its own.
    """
    try:
        plan = Plan(
            url=url,
            keys=_keys(keys, key_file, tailnets),
            clients=clients,
            phases=tuple(phases.split(",")),
            rounds=rounds,
            concurrency=concurrency,
            decode=decode,
            pause_seconds=pause,
            total_seconds=max_seconds,
            label=label,
            own_server=own_server,
        )
        report = _run(plan)
    except TimeoutError as error:
        raise click.ClickException(f"not done within {max_seconds:.0f} s") from error
    except Error as error:
        raise click.ClickException(error.message) from error
    _show(report, as_json)
    sys.exit(0 if report.is_clean else 1)


def _keys(text: str, file: Path | None, tailnets: int | None) -> tuple[str, ...]:
    lines = file.read_text().splitlines() if file else text.split(",")
    keys = tuple(key.strip() for key in lines if key.strip())
    if tailnets is not None and tailnets > len(keys):
        raise click.UsageError(f"{tailnets} tailnets need as many auth keys, not {len(keys)}")
    return keys[:tailnets]


def _run(plan: Plan) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=Console(stderr=True)) as bar,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        tasks: dict[str, TaskID] = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        return runner.run(run(plan, progress))


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        click.echo(report.as_json())
        return
    console = Console()
    console.print(report.table())
    for line in report.verdict():
        console.print(line, markup=False, highlight=False)
