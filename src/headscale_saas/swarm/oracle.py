"""The isolation oracle: nothing that one tailnet is told may carry the mark of another.

It reads the decompressed text, not the decoded message, so that no member can hide from it.
"""

import re

from headscale_saas.swarm.identity import Mark

MAX_KEPT = 100
_MARKS = re.compile(rb"swarm-([0-9a-f]{8})|2001:db8:([0-9a-f]{4}):([0-9a-f]{4}):")


class IsolationBroken(AssertionError):
    """A client was told of another tailnet."""


class IsolationOracle:
    """Collects violations; shared by all clients of a run or of a test."""

    __slots__ = ("checked", "count", "kept")

    def __init__(self) -> None:
        self.checked = 0
        """Texts that were read."""
        self.count = 0
        self.kept: list[str] = []
        """The first 100 violations, each with where it was seen."""

    def check(self, mark: Mark, text: bytes, where: str) -> None:
        """Reads one text that was told to a client (or an admin) of the tailnet with this mark."""
        self.checked += 1
        foreign = {first + second + third for first, second, third in _MARKS.findall(text)}
        foreign.discard(mark.digits.encode())
        if foreign:
            self._violated(mark, foreign, where)

    def _violated(self, mark: Mark, foreign: set[bytes], where: str) -> None:
        self.count += 1
        if len(self.kept) < MAX_KEPT:
            marks = ", ".join(sorted(digits.decode() for digits in foreign))
            self.kept.append(f"{where} of {mark.digits} saw marks of {marks}")

    def demand_clean(self) -> None:
        """Raises IsolationBroken with what was seen."""
        if self.count:
            raise IsolationBroken(f"{self.count} violations: " + "; ".join(self.kept))
