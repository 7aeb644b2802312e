"""A login that waits for a person."""

from collections.abc import Awaitable, Callable

from headscale_saas.actions.approvals import PolicyOf
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import Actor, Node, TailnetId, UserId

WaitForLogin = Callable[[bytes], Awaitable[None]]
"""Returns when the login with this id hash may have been decided (or some time has passed)."""


class LoginWaiters:
    """All follow-ups that this process holds open; one query looks for all of them.

    `serve` calls `look` when the doorbell says that logins moved, and every two seconds. `wait` is the
    port that `register` takes.
    """

    async def wait(self, id_hash: bytes) -> None:
        raise NotImplementedError

    async def look(self, db: Database) -> None:
        raise NotImplementedError


async def approve_login(
    db: Database, policy_of: PolicyOf, actor: Actor, tailnet: TailnetId, user: UserId, login_id: str
) -> Node:
    """Lets the waiting device in as a node of the user. Approving twice for one user gives the same node.

    Raises Invalid ("invalid auth_id …"), NotFound ("no pending auth session …", "user not found"),
    AlreadyUsed (decided otherwise before), Refused (a rule of the tailnet says no).
    """
    raise NotImplementedError


async def reject_login(db: Database, actor: Actor, login_id: str, reason: str = "") -> None:
    """Turns the waiting device away; it is told the reason. Raises as `approve_login`."""
    raise NotImplementedError
