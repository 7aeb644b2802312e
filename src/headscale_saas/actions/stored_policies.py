"""Which of the stored policies this release cannot carry out: it may be stricter than the one that took them.

Such a tailnet is not served: nobody joins it and nobody is told anything, until an admin sets a policy that
this release understands. That is worth knowing before the upgrade.
"""

import hashlib
import time
from collections.abc import Callable

import msgspec

from headscale_saas.policy.checking import objection
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.store.policy_texts import PolicyText, policy_texts

MOST_TOLD = 100


class RefusedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`reason` is for people, with the place if there is one: `line` 0 is the text as a whole."""

    tailnet: int
    name: str
    line: int
    column: int
    reason: str


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """How many policies were looked at, how many of them are refused, the first hundred of these; and how
    many tailnets' policies there was no time for.
    """

    policies: int
    refused: int
    first: tuple[RefusedPolicy, ...]
    unchecked: int


NOTHING = Inspection(policies=0, refused=0, first=(), unchecked=0)


def inspect(dsn: str, *, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> Inspection:
    """Reads all policies of the database as if to carry them out. Raises Unavailable."""
    until = monotonic() + seconds
    known: dict[bytes, RefusedPolicy | None] = {}
    policies, unchecked, refused = 0, 0, 0
    first: list[RefusedPolicy] = []
    for stored in policy_texts(dsn):
        digest = hashlib.sha256(stored.text.encode()).digest()
        if digest not in known and monotonic() >= until:
            unchecked += 1
            continue
        policies += 1
        if digest not in known:
            known[digest] = _refused(stored)
        if like := known[digest]:
            refused += 1
            first += [_of(stored, like)] if refused <= MOST_TOLD else []
    return Inspection(policies=policies, refused=refused, first=tuple(first), unchecked=unchecked)


def _refused(stored: PolicyText) -> RefusedPolicy | None:
    problem = objection(stored.text)
    if problem is None:
        return None
    at = problem.position if isinstance(problem, PolicyError) else None
    return RefusedPolicy(
        tailnet=stored.tailnet,
        name=stored.name,
        line=at.line if at else 0,
        column=at.column if at else 0,
        reason=str(problem),
    )


def _of(stored: PolicyText, like: RefusedPolicy) -> RefusedPolicy:
    """Several tailnets may have the same policy."""
    return msgspec.structs.replace(like, tailnet=stored.tailnet, name=stored.name)
