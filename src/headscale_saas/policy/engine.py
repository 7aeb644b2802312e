"""From a policy text to what it means for one state, at once or step by step."""

from functools import lru_cache

from headscale_saas.errors import Invalid, Unavailable
from headscale_saas.policy.allow_all import AllowAll, allow_all
from headscale_saas.policy.compiled import Compiled
from headscale_saas.policy.language import parse
from headscale_saas.policy.program import Program
from headscale_saas.policy.resolution import Resolution, resolve
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.state import TailnetState

MOST_PROGRAMS = 128
"""Kept, though no tailnet may use them any more: a policy is often tried, stored and compiled in turn."""


def compile_policy(text: str | None, state: TailnetState) -> Compiled:
    """Compiles a stored policy. None or "" = there is none, and everyone may reach everyone.

    Raises Unavailable for a policy that cannot be carried out: it must never open the tailnet instead.
    """
    return resolve(program_of(text), state) if text else allow_all(state)


@lru_cache(maxsize=MOST_PROGRAMS)
def program_of(text: str) -> Program:
    """The part of compiling that asks for no state; may be called beforehand, in any thread. Raises as
    `compile_policy` does."""
    try:
        return Program(parse(text))
    except Invalid as fault:
        raise Unavailable(
            f"the policy is not understood: {fault.message}", code="policy_not_understood"
        ) from fault


def advance(compiled: Compiled, before: TailnetState, after: TailnetState, touched: Touched) -> Compiled:
    """What `compile_policy` would yield for `after`, from what it yielded for `before`. Raises as it does.

    `touched` must name at least all rows in which the two states differ.
    """
    if before.policy_text == after.policy_text and isinstance(compiled, AllowAll | Resolution):
        return compiled.advanced(before, after, touched)
    return compile_policy(after.policy_text, after)
