"""Load from the Go program, whose Noise and HTTP/2 halves are the official client's."""

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.server import Server, pinned
from bench.usage import Usage, usage

SOURCE = Path(os.environ.get("GOSWARM", Path(__file__).parents[2] / "shared" / "goswarm"))
"""The program itself, or the folder with its `build.sh`."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headscale-saas"
PHASES = "W1,W6,W2,W3,W4"

LIMIT_SECONDS = 1800

_FIGURE = re.compile(r"([\w/-]+)=(-?[\d.]+)")


@dataclass
class Phase:
    """`figures`: what was printed, by its names (of two equal ones the last); `spent`: what /proc said."""

    figures: dict[str, float]
    spent: Usage
    after: Usage
    seconds: float
    load: float
    """The share of a core that the load itself used; past 0.8 the figures are the load's."""


@dataclass
class Load:
    """One run: its phases by name (W1, W6, W2, W3, W4) and its lines as printed."""

    clients: int
    before: Usage
    rounds: int
    source: str
    standing: int = 0
    """Clients that are there besides, from another program."""
    phases: dict[str, Phase] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def program() -> tuple[Path | None, str]:
    """The built program, or None and why there is none."""
    if SOURCE.is_file():
        return SOURCE, ""
    build = SOURCE / "build.sh"
    if not build.is_file():
        return None, f"no {SOURCE.name} (set GOSWARM)"
    built = CACHE / "goswarm"
    if built.is_file() and built.stat().st_mtime >= (SOURCE / "main.go").stat().st_mtime:
        return built, ""
    if not shutil.which("go"):
        return None, "no Go"
    CACHE.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([str(build), str(built)], capture_output=True, text=True, timeout=900, check=False)
    return (built, "") if done.returncode == 0 else (None, f"building it failed: {done.stderr[-300:]}")


def run(
    binary: Path,
    server: Server,
    keys: Sequence[str],
    clients: int,
    *,
    rounds: int = 10,
    cores: set[int],
    phases: str = PHASES,
    gap_seconds: float = 2.0,
) -> Load:
    """These phases with that many clients. Client number i has the key i, or begins anew with them; one's
    changes are waited for at those with the same key. More than 1,500 keys are no command line.

    Raises RuntimeError if the program fails or takes half an hour.
    """
    pids = ",".join(f"{name}={pid}" for name, pid in server.trees)
    command = [str(binary), "-url", server.url, "-key", ",".join(keys), "-n", str(clients), "-pids", pids]
    command += ["-rounds", str(rounds), "-phases", phases, "-gap", f"{gap_seconds}s"]
    load = Load(clients, server.usage(), rounds, "official client code (goswarm)")
    with _started(command, cores) as process:
        assert process.stdout
        meter = Meter(server, process.pid)
        for line in process.stdout:
            load.lines.append(line.rstrip())
            _note(load, line, meter)
    if process.returncode:
        raise RuntimeError("goswarm failed:\n" + "\n".join(load.lines[-10:]))
    return load


@contextmanager
def _started(command: list[str], cores: set[int]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        pinned(command, cores), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        watchdog = threading.Timer(LIMIT_SECONDS, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()


class Meter:
    """What server and load spent since the last reading."""

    def __init__(self, server: Server, load: int) -> None:
        self._server, self._load = server, load
        self._at, self._usage, self._own = time.monotonic(), server.usage(), usage(load, memory=False).cpu

    def phase(self, figures: dict[str, float]) -> Phase:
        at, after, own = time.monotonic(), self._server.usage(), usage(self._load, memory=False).cpu
        phase = Phase(
            figures, after.since(self._usage), after, at - self._at, (own - self._own) / (at - self._at)
        )
        self._at, self._usage, self._own = at, after, own
        return phase


def _note(load: Load, line: str, meter: Meter) -> None:
    name = line[:2]
    if name not in PHASES.split(",") or line[2:3] != " ":
        return
    figures = {key: float(value) for key, value in _FIGURE.findall(line)}
    if name in load.phases:  # W6 has a line for each tree of processes, at the same moment
        load.phases[name].figures.update(figures)
    else:
        load.phases[name] = meter.phase(figures)
