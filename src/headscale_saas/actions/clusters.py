"""Clusters, the units of placement."""

import re
from urllib.parse import urlsplit

from headscale_saas.errors import Invalid, NotFound
from headscale_saas.store import directory
from headscale_saas.store.database import Database
from headscale_saas.store.directory import Cluster, ClusterState
from headscale_saas.tailnet.model import Actor, ClusterId

MAX_ID = 2**31 - 1
MAX_URL = 255
MAX_REGION = 63
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
    if not 0 < cluster <= MAX_ID:
        raise Invalid("the number of a cluster is above 0", field="id")
    _check(name, url, region, capacity)
    async with db.directory() as tx:
        return await directory.create_cluster(tx, cluster, name, url=url, region=region, capacity=capacity)


async def update_cluster(
    db: Database,
    actor: Actor,
    cluster: ClusterId,
    *,
    name: str | None = None,
    url: str | None = None,
    region: str | None = None,
    capacity: int | None = None,
    state: str | None = None,
) -> Cluster:
    """Changes what is given; an empty `url` means the service's own again.

    Raises Invalid (also if nothing is given), NotFound, Conflict (the name is taken).
    """
    if all(one is None for one in (name, url, region, capacity, state)):
        raise Invalid("nothing to change", field="cluster")
    _check(name, url, region, capacity)
    wanted = None if state is None else _state(state)
    if cluster > MAX_ID:
        raise _no_such_cluster()
    async with db.directory() as tx:
        updated = await directory.update_cluster(
            tx, cluster, name=name, url=url, region=region, capacity=capacity, state=wanted
        )
    if updated is None:
        raise _no_such_cluster()
    return updated


async def list_clusters(db: Database) -> list[Cluster]:
    """By id."""
    async with db.directory() as tx:
        return await directory.list_clusters(tx)


def _no_such_cluster() -> NotFound:
    return NotFound("cluster not found", code="no_such_cluster")


def _check(name: str | None, url: str | None, region: str | None, capacity: int | None) -> None:
    """None is not looked at."""
    if name is not None and not _NAME.fullmatch(name):
        raise Invalid("a cluster's name is a DNS label: a-z, 0-9 and inner hyphens", field="name")
    if url and not _is_url(url):
        raise Invalid("a cluster's URL begins with https://", field="url")
    if region is not None and not (len(region) <= MAX_REGION and region.isprintable()):
        raise Invalid(f"a region has at most {MAX_REGION} characters, all printable", field="region")
    if capacity is not None and not 0 <= capacity <= MAX_ID:
        raise Invalid(f"a cluster's capacity is from 0 to {MAX_ID}", field="capacity")


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return (
        url.scheme in ("http", "https") and bool(url.hostname) and len(text) <= MAX_URL and text.isprintable()
    )


def _state(text: str) -> ClusterState:
    try:
        return ClusterState(text)
    except ValueError:
        raise Invalid(f"a cluster's state is one of {', '.join(ClusterState)}", field="state") from None
