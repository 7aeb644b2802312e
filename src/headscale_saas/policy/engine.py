"""From a policy text to what it means for one state, at once or step by step."""

from headscale_saas.errors import Unavailable
from headscale_saas.policy.allow_all import AllowAll, allow_all
from headscale_saas.policy.compiled import Compiled
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.state import TailnetState


def compile_policy(text: str | None, state: TailnetState) -> Compiled:
    """Compiles a stored policy. None or "" = there is none, and everyone may reach everyone.

    Raises Unavailable for a policy that cannot be carried out: it must never open the tailnet instead.
    """
    if not text:
        return allow_all(state)
    raise Unavailable("policies are not carried out yet", code="policy_not_understood")


def advance(compiled: Compiled, before: TailnetState, after: TailnetState, touched: Touched) -> Compiled:
    """What `compile_policy` would yield for `after`, from what it yielded for `before`. Raises as it does.

    `touched` must name at least all rows in which the two states differ.
    """
    if before.policy_text != after.policy_text or not isinstance(compiled, AllowAll):
        return compile_policy(after.policy_text, after)
    return compiled.advanced(before, after, touched)
