"""The DNS domains of a tailnet's members, which its policy may name as `user:*@<domain>`."""

import re
from collections.abc import Iterable

from msgspec.structs import replace

from headscale_saas.actions.at_rest import check_and_put
from headscale_saas.errors import Error, Invalid, LimitReached, Refused
from headscale_saas.policy import check
from headscale_saas.store import settings as settings_row
from headscale_saas.store.database import Database
from headscale_saas.store.policies import Rows
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, Settings, TailnetId
from headscale_saas.tailnet.state import TailnetState

MOST_DOMAINS = 100
MOST_LENGTH = 253
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"({_LABEL}\.)*(?=.*[a-z]){_LABEL}", re.ASCII)
"""The last label has a letter in it: what has none is an address."""


async def set_domains(db: Database, actor: Actor, tailnet: TailnetId, domains: Iterable[str]) -> Settings:
    """Replaces all of them; none means that they are not known, so that a policy may name any.

    The policy in force has to hold with them as it did before. Raises Invalid (no domain), LimitReached,
    Refused (`policy_does_not_hold`, with what is wrong with the policy and where), NotFound.
    """
    wanted = checked(domains)

    async def put(tx: TailnetTx, _found: None) -> Settings:
        before = await settings_row.get(tx)
        after = replace(before, domains=wanted)
        if await settings_row.put(tx, after):
            tx.touch(settings=True)
            change = {"from": list(before.domains), "to": list(after.domains)}
            tx.audit("tailnet.domains", "settings", {"domains": change})
        return after

    return await check_and_put(db, actor, tailnet, lambda rows: _demand_holding(rows, wanted), put)


def checked(domains: Iterable[str]) -> tuple[str, ...]:
    """Each once, in order. Raises Invalid, LimitReached."""
    found = tuple(sorted(set(domains)))
    if len(found) > MOST_DOMAINS:
        raise LimitReached(f"a tailnet has at most {MOST_DOMAINS} domains", code="too_many_domains")
    for domain in found:
        if len(domain) > MOST_LENGTH or not _DOMAIN.fullmatch(domain):
            shown = domain[:MOST_LENGTH]
            raise Invalid(f"invalid domain {shown!r}: a DNS name in lower case is wanted", field="domains")
    return found


def _demand_holding(rows: Rows, domains: tuple[str, ...]) -> None:
    """What is wrong with the policy already is not the change's fault."""
    state = rows.state()
    problem = _objection(state, domains)
    if problem is not None and str(problem) != str(_objection(state, state.tailnet.settings.domains)):
        reason = f"the policy in force does not hold with these domains: {problem}"
        raise Refused(reason, code="policy_does_not_hold")


def _objection(state: TailnetState, domains: tuple[str, ...]) -> Error | None:
    try:
        check(state.policy_text or "", state, domains)
    except (Invalid, LimitReached) as problem:
        return problem
    return None
