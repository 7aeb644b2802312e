"""Heads of tailnets: make, find, list, place, delete."""

from collections.abc import Collection

from headscale_saas.errors import NotFound
from headscale_saas.store.tailnets import HEAD, TailnetHead, head_from_record, settings_to_text
from headscale_saas.store.transactions import DirectoryTx
from headscale_saas.tailnet.model import ClusterId, Settings, TailnetId, Version

STATE_TABLES = (
    "tailnet_settings",
    "users",
    "auth_keys",
    "api_keys",
    "nodes",
    "freed_addresses",
    "sessions",
    "policy_versions",
)
"""The tables whose `cluster_id` follows the placement; a test compares them with the catalogue."""


async def tailnet_by_name(tx: DirectoryTx, name: str) -> TailnetHead | None:
    """The head of the tailnet with this name."""
    row = await tx.fetchrow(f"select {HEAD} from tailnets t where t.name = $1", name)
    return None if row is None else head_from_record(row)


async def tailnet_head(tx: DirectoryTx, tailnet: TailnetId) -> TailnetHead | None:
    """The head of the tailnet with this id."""
    row = await tx.fetchrow(f"select {HEAD} from tailnets t where t.id = $1", tailnet)
    return None if row is None else head_from_record(row)


async def list_tailnets(tx: DirectoryTx) -> list[TailnetHead]:
    """All heads, by id."""
    return [head_from_record(row) for row in await tx.fetch(f"select {HEAD} from tailnets t order by t.id")]


async def versions(tx: DirectoryTx, tailnets: Collection[TailnetId]) -> dict[TailnetId, Version]:
    """The version of each of these now; those that do not exist are missing."""
    rows = await tx.fetch("select id, version from tailnets where id = any($1::bigint[])", list(tailnets))
    return {row["id"]: row["version"] for row in rows}


async def create_tailnet(
    tx: DirectoryTx, name: str, cluster: ClusterId, settings: Settings | None = None
) -> TailnetHead:
    """At version 0. `name` is a DNS label. Raises Conflict (name taken, no such cluster), Invalid."""
    row = await tx.fetchrow(
        f"insert into tailnets as t (name, cluster_id) values ($1, $2) returning {HEAD}", name, cluster
    )
    head = head_from_record(row)
    await tx.execute(
        "insert into tailnet_settings (tailnet_id, cluster_id, settings) values ($1, $2, $3)",
        head.id,
        cluster,
        settings_to_text(settings or Settings()),
    )
    return head


async def delete_tailnet(tx: DirectoryTx, tailnet: TailnetId) -> bool:
    """With everything in it but its audit log. False if there is none."""
    return await tx.execute("delete from tailnets where id = $1", tailnet) > 0


async def move_tailnet(tx: DirectoryTx, tailnet: TailnetId, cluster: ClusterId) -> TailnetHead:
    """Places the tailnet on another cluster: a version like any other, in which no node changes.

    Raises NotFound, Conflict (no such cluster). Ring for the head's version after the commit.
    """
    row = await tx.fetchrow(f"select {HEAD} from tailnets t where t.id = $1 for update", tailnet)
    if row is None:
        raise NotFound("there is no such tailnet", code="no_such_tailnet")
    if row["cluster_id"] == cluster:
        return head_from_record(row)
    # The head goes first and its rows follow: until the commit they disagree.
    await tx.execute("set constraints all deferred")
    row = await tx.fetchrow(
        f"update tailnets t set cluster_id = $2, version = version + 1 where t.id = $1 returning {HEAD}",
        tailnet,
        cluster,
    )
    for table in STATE_TABLES:
        await tx.execute(f"update {table} set cluster_id = $2 where tailnet_id = $1", tailnet, cluster)
    head = head_from_record(row)
    await tx.execute(
        "insert into changes (tailnet_id, version, cluster_id, process, at, settings)"
        " values ($1, $2, $3, $4, now(), true)",
        tailnet,
        head.version,
        cluster,
        tx.process,
    )
    return head
