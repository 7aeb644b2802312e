"""What a crowd shall do."""

import os
from dataclasses import dataclass, field

from headscale_saas.errors import Invalid

PHASES = ("join", "idle", "visible", "endpoint", "storm")
MAX_CLIENTS = 30_000
MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class Plan:
    """`keys`: reusable auth keys, one for each tailnet; client i joins tailnet i modulo their number.

    `decode`: the share of clients that decode, merge and check all they are told; the others count messages.
    Between phases nobody is told anything for `quiet_seconds`. `limit_seconds`: the longest wait for one
    thing; `total_seconds`: for all. `label` makes the marks: two runs against the same tailnets need the same
    label and order of keys.
    """

    url: str
    keys: tuple[str, ...]
    clients: int = 100
    phases: tuple[str, ...] = ("join", "visible", "endpoint", "storm")
    rounds: int = 5
    concurrency: int = 16
    decode: float = 0.05
    pause_seconds: float = 1.0
    idle_seconds: float = 10.0
    quiet_seconds: float = 1.0
    limit_seconds: float = 60.0
    total_seconds: float = 900.0
    own_server: bool = False
    label: str = "swarm"
    run: str = field(default_factory=lambda: os.urandom(2).hex())
    """Part of the host names, so that a run finds only its own."""

    def __post_init__(self) -> None:
        if not self.keys:
            raise Invalid("at least one auth key is needed", field="key")
        if not 0 < self.clients <= MAX_CLIENTS:
            raise Invalid(f"1 to {MAX_CLIENTS} clients", field="clients")
        if not 0 < self.total_seconds <= MAX_SECONDS:
            raise Invalid(f"at most {MAX_SECONDS:.0f} seconds", field="max-seconds")
        if unknown := set(self.phases) - set(PHASES):
            raise Invalid(f"unknown phases: {', '.join(sorted(unknown))}", field="phases")

    def label_of(self, tailnet: int) -> str:
        return f"{self.label}-{tailnet}"
