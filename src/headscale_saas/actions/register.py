"""A device asks to be let in."""

from headscale_saas.actions.approvals import PolicyOf
from headscale_saas.actions.logins import WaitForLogin
from headscale_saas.actions.outcome import Outcome
from headscale_saas.store.database import Database
from headscale_saas.tailcfg.keys import MachineKey
from headscale_saas.tailcfg.register import RegisterRequest


async def register(
    db: Database,
    policy_of: PolicyOf,
    machine_key: MachineKey,
    protocol_version: int,
    request: RegisterRequest,
    origin: str,
    *,
    wait: WaitForLogin,
) -> Outcome:
    """Decides one `POST /machine/register`; whatever the unit of answer, sending it again is harmless.

    `machine_key` is the Noise peer, `protocol_version` the one of its handshake, `origin` its address.
    Returns when there is an answer: a follow-up takes as long as the person does, so the caller cancels
    it when the request goes away. Raises Invalid (what no client sends, or an expiry that would extend
    the key) and Unavailable; every other "no" is an outcome.
    """
    raise NotImplementedError
