"""What a connected node says of itself."""

from headscale_saas.actions.approvals import PolicyOf
from headscale_saas.store.database import Database
from headscale_saas.store.directory import NodeRef
from headscale_saas.tailcfg.maps import MapRequest


async def report(db: Database, policy_of: PolicyOf, ref: NodeRef, request: MapRequest) -> None:
    """Takes over what a lite update (`Stream` false, `ReadOnly` false) says. Nothing new: no write.

    The door has checked that `ref.machine_key` is the Noise peer. A node that is gone: NotFound.
    """
    raise NotImplementedError
