"""What a crowd found: figures by phase, for people (a table) and for programs (JSON)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import msgspec
from rich.table import Table

MAX_KINDS = 50
"""Kinds of errors that are told apart."""

ANOTHER_LABEL = ", or another --label was used for this tailnet before: its nodes carry other marks"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share (0 to 1) lies; NaN for none."""
    if not values:
        return float("nan")
    return sorted(values)[int(share * (len(values) - 1))]


@dataclass
class Phase:
    """`seconds` is wall time; `load` the share of a core that the swarm itself used meanwhile (past 0.8 the
    figures are the swarm's, not the server's). `waits` are in milliseconds, `sizes` in bytes per client."""

    name: str
    total: int
    seconds: float = 0.0
    load: float = 0.0
    done: int = 0
    missing: int = 0
    waits: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Done per second of wall time."""
        return self.done / self.seconds if self.seconds else 0.0

    def summary(self) -> dict[str, float | int | str]:
        """Without the single waits."""
        return {
            "phase": self.name,
            "done": self.done,
            "missing": self.missing,
            "seconds": round(self.seconds, 3),
            "per_second": round(self.rate, 1),
            "p50_ms": round(percentile(self.waits, 0.5), 1),
            "p99_ms": round(percentile(self.waits, 0.99), 1),
            "max_ms": round(percentile(self.waits, 1.0), 1),
            "bytes_each": round(sum(self.sizes) / max(len(self.sizes), 1)),
            "load": round(self.load, 2),
        }


@dataclass
class Report:
    """At the end: `incomplete` ones decode, and miss what their peers said; `lost` ones have no poll."""

    clients: int
    tailnets: int
    phases: list[Phase] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    decoded: int = 0
    violations: list[str] = field(default_factory=list)
    violation_count: int = 0
    incomplete: int = 0
    lost: int = 0

    @property
    def is_clean(self) -> bool:
        """Nothing was lost, leaked or left out: only then the figures count."""
        missing = sum(phase.missing for phase in self.phases)
        return not (missing or self.violation_count or self.incomplete or self.lost)

    def add_error(self, error: BaseException) -> None:
        text = f"{type(error).__name__}: {error}"[:200]
        if text in self.errors or len(self.errors) < MAX_KINDS:
            self.errors[text] = self.errors.get(text, 0) + 1

    def phase(self, name: str) -> Phase:
        """Raises LookupError for a phase that was not run."""
        return next(phase for phase in self.phases if phase.name == name)

    def as_json(self) -> bytes:
        plain = asdict(self) | {"phases": [phase.summary() for phase in self.phases], "clean": self.is_clean}
        return msgspec.json.format(msgspec.json.encode(plain), indent=2)

    def table(self) -> Table:
        table = Table(title=f"{self.clients} clients in {self.tailnets} tailnets", title_justify="left")
        columns = ("", "done", "missing", "s", "/s", "p50 ms", "p99 ms", "max ms", "bytes", "load")
        for name in columns:
            table.add_column(name, justify="right" if name else "left")
        for phase in self.phases:
            figures = phase.summary().values()
            table.add_row(*("-" if str(value) == "nan" else str(value) for value in figures))
        return table

    def verdict(self) -> list[str]:
        """The lines below the table."""
        common = sorted(self.errors.items(), key=lambda item: -item[1])
        lines = [f"error x{count}: {text}" for text, count in common[:10]]
        lines += [f"isolation: {text}" for text in self.violations[:10]]
        hint = ANOTHER_LABEL if self.violation_count else ""
        return [
            *lines,
            f"isolation violations: {self.violation_count} in {self.decoded} messages read{hint}",
            f"clients without a poll at the end: {self.lost}; with peers missing: {self.incomplete}",
        ]
