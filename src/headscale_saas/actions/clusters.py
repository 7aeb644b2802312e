"""Clusters, the units of placement."""

from headscale_saas.store.database import Database
from headscale_saas.store.directory import Cluster
from headscale_saas.tailnet.model import Actor, ClusterId


async def create_cluster(
    db: Database,
    actor: Actor,
    cluster: ClusterId,
    name: str,
    *,
    url: str = "",
    region: str = "",
    capacity: int = 1000,
) -> Cluster:
    """Raises Invalid, Conflict (the id or the name is taken)."""
    raise NotImplementedError


async def list_clusters(db: Database) -> list[Cluster]:
    """By id."""
    raise NotImplementedError
