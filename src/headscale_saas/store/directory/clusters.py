"""The units of placement."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from headscale_saas.store.transactions import DirectoryTx
from headscale_saas.tailnet.model import ClusterId


class ClusterState(StrEnum):
    """Only an active cluster is given new tailnets; one that is down has its tailnets moved away."""

    ACTIVE = "active"
    DRAINING = "draining"
    DOWN = "down"


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """`capacity` counts tailnets. `url` is where its clients log in ("" = the service's own)."""

    id: ClusterId
    name: str
    url: str = ""
    region: str = ""
    capacity: int = 1000
    state: ClusterState = ClusterState.ACTIVE
    created_at: datetime


COLUMNS = "cluster_id, name, url, region, capacity, state, created_at"


def from_record(row: Any) -> Cluster:
    return Cluster(
        id=row["cluster_id"],
        name=row["name"],
        url=row["url"],
        region=row["region"],
        capacity=row["capacity"],
        state=ClusterState(row["state"]),
        created_at=row["created_at"],
    )


async def create_cluster(
    tx: DirectoryTx, cluster: ClusterId, name: str, *, url: str = "", region: str = "", capacity: int = 1000
) -> Cluster:
    """Raises Conflict: the number or the name is taken."""
    row = await tx.fetchrow(
        "insert into clusters (cluster_id, name, url, region, capacity) values ($1, $2, $3, $4, $5)"
        f" returning {COLUMNS}",
        cluster,
        name,
        url,
        region,
        capacity,
    )
    return from_record(row)


async def update_cluster(
    tx: DirectoryTx,
    cluster: ClusterId,
    *,
    name: str | None = None,
    url: str | None = None,
    region: str | None = None,
    capacity: int | None = None,
    state: ClusterState | None = None,
) -> Cluster | None:
    """Sets what is given. None: there is no such cluster. Raises Conflict: the name is taken."""
    row = await tx.fetchrow(
        "update clusters set name = coalesce($2, name), url = coalesce($3, url),"
        " region = coalesce($4, region), capacity = coalesce($5, capacity), state = coalesce($6, state)"
        f" where cluster_id = $1 returning {COLUMNS}",
        cluster,
        name,
        url,
        region,
        capacity,
        None if state is None else state.value,
    )
    return None if row is None else from_record(row)


async def get_cluster(tx: DirectoryTx, cluster: ClusterId) -> Cluster | None:
    """The cluster with this number."""
    row = await tx.fetchrow(f"select {COLUMNS} from clusters where cluster_id = $1", cluster)
    return None if row is None else from_record(row)


async def list_clusters(tx: DirectoryTx) -> list[Cluster]:
    """All, by number."""
    return [from_record(row) for row in await tx.fetch(f"select {COLUMNS} from clusters order by cluster_id")]


async def set_cluster_state(tx: DirectoryTx, cluster: ClusterId, state: ClusterState) -> bool:
    """False if there is no such cluster."""
    sql = "update clusters set state = $2 where cluster_id = $1"
    return await tx.execute(sql, cluster, state.value) > 0
