"""How the official client waits between attempts (`util/backoff/backoff.go:Backoff.BackOff`)."""

import random

STEP_SECONDS = 0.010
LONGEST_SECONDS = 30.0


class Backoff:
    """n² · 10 ms, at most 30 s, times 0.5 to 1.5. A full netmap resets it, a mere connection does not."""

    __slots__ = ("attempts",)

    def __init__(self) -> None:
        self.attempts = 0

    def next_seconds(self) -> float:
        self.attempts += 1
        return min(self.attempts**2 * STEP_SECONDS, LONGEST_SECONDS) * random.uniform(0.5, 1.5)

    def reset(self) -> None:
        self.attempts = 0
