"""Clusters, the units of placement."""

import re
from urllib.parse import urlsplit

from headscale_saas.errors import Invalid
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.store.directory import Cluster
from headscale_saas.tailnet.model import Actor, ClusterId

MAX_ID = 2**31 - 1
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


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
    if not 0 < cluster <= MAX_ID or not 0 <= capacity <= MAX_ID:
        raise Invalid("the number of a cluster is above 0, its capacity not below", field="id")
    if not _NAME.fullmatch(name):
        raise Invalid("a cluster's name is a DNS label: a-z, 0-9 and inner hyphens", field="name")
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise Invalid("a cluster's URL begins with https://", field="url")
    async with db.directory() as tx:
        return await directory.create_cluster(tx, cluster, name, url=url, region=region, capacity=capacity)


async def list_clusters(db: Database) -> list[Cluster]:
    """By id."""
    async with db.directory() as tx:
        return await directory.list_clusters(tx)
