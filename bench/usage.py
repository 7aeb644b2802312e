"""What a tree of processes has spent, from /proc; PostgreSQL is told apart by its name."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
POSTGRES = "postgres"


@dataclass(frozen=True)
class Usage:
    """CPU in seconds since the start, memory (proportional share) in KiB."""

    server_cpu: float
    postgres_cpu: float
    server_kib: int
    postgres_kib: int

    @property
    def cpu(self) -> float:
        return self.server_cpu + self.postgres_cpu

    def since(self, before: "Usage") -> "Usage":
        return Usage(
            self.server_cpu - before.server_cpu,
            self.postgres_cpu - before.postgres_cpu,
            self.server_kib - before.server_kib,
            self.postgres_kib - before.postgres_kib,
        )


def usage(root: int, *, memory: bool = True) -> Usage:
    """Of the process and all below it. Memory takes some milliseconds of the kernel's time to add up."""
    cpu = {True: 0.0, False: 0.0}
    kib = {True: 0, False: 0}
    for pid in tree(root):
        is_postgres = name(pid) == POSTGRES
        cpu[is_postgres] += _cpu(pid)
        kib[is_postgres] += _kib(pid) if memory else 0
    return Usage(cpu[False], cpu[True], kib[False], kib[True])


def tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold anything; none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu(pid: int) -> float:
    """With its children that have ended."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / TICKS if fields else 0.0


def _kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
