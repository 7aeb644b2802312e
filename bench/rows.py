"""What is said of a load, line by line."""

from collections.abc import Callable, Sequence

from bench.goload import Load
from bench.table import markdown, number


def table(loads: Sequence[Load], heads: Sequence[str]) -> str:
    rows = [(name, *(cell(load) for load in loads)) for name, cell in _ROWS]
    return markdown(("", *heads), rows)


def _cpu(phase: str, each: Callable[[Load], float]) -> Callable[[Load], str]:
    """Milliseconds of CPU: of all, and PostgreSQL's part."""

    def cell(load: Load) -> str:
        if phase not in load.phases:
            return "?"
        spent, count = load.phases[phase].spent, each(load)
        return f"{number(spent.cpu / count * 1000)} ({number(spent.postgres_cpu / count * 1000)})"

    return cell


def _figures(phase: str, *names: str) -> Callable[[Load], str]:
    def cell(load: Load) -> str:
        figures = load.phases[phase].figures if phase in load.phases else {}
        return " / ".join(number(figures.get(name, float("nan"))) for name in names)

    return cell


def _idling(load: Load) -> str:
    """What the figures of W2 and W3 hold for each second between their rounds."""
    idle = load.phases["W6"]
    return number(idle.spent.cpu / idle.seconds * 1000)


def _memory(load: Load) -> str:
    """Growth from before the first client until after the idle time; PostgreSQL's grows with its cache."""
    after = load.phases["W6"].after
    server = (after.server_kib - load.before.server_kib) / (load.clients + load.standing)
    return f"{number(server)} ({number((after.postgres_kib - load.before.postgres_kib) / 1024)} MiB)"


def _busy(load: Load) -> str:
    return ", ".join(f"{name} {phase.load:.2f}" for name, phase in load.phases.items())


def _lost(load: Load) -> str:
    missing = sum(phase.figures.get("missing", 0.0) for name, phase in load.phases.items() if name != "W1")
    failed = sum(phase.figures.get("failed", 0.0) for phase in load.phases.values())
    return f"{number(missing)} / {number(failed)}"


_ROWS: tuple[tuple[str, Callable[[Load], str]], ...] = (
    ("W1 joins/s", _figures("W1", "rate")),
    ("W1 first netmap p50 / p99, ms", _figures("W1", "p50", "p99")),
    ("W1 CPU per join while filling up (PostgreSQL of it), ms", _cpu("W1", lambda load: load.clients)),
    ("W2 joiner seen p50 / p99 / max, ms", _figures("W2", "p50", "p99", "max")),
    ("W2 CPU of a join into the full tailnet, ms", _cpu("W2", lambda load: load.rounds)),
    ("W3 endpoint change seen p50 / p99 / max, ms", _figures("W3", "p50", "p99", "max")),
    ("W3 CPU per change, ms", _cpu("W3", lambda load: load.rounds)),
    ("W3 bytes per client", _figures("W3", "bytes/client")),
    ("W4 all reconnect: p50 / p99, ms", _figures("W4", "p50", "p99")),
    ("W4 last has its netmap, s", _figures("W4", "wall")),
    ("W4 CPU of the storm, ms", _cpu("W4", lambda load: 1)),
    ("W6 KiB per client (PostgreSQL's growth)", _memory),
    ("W6 CPU of idling with all connected, ms a second", _idling),
    ("messages missing / clients failed", _lost),
    ("cores used by the load (past 0.8 it is what is measured)", _busy),
    ("load by", lambda load: load.source),
)
