"""Tailnets as a whole."""

import re

from headscale_saas.errors import Invalid, NotFound, Refused
from headscale_saas.store import directory
from headscale_saas.store import settings as settings_row
from headscale_saas.store.database import Database
from headscale_saas.store.directory import ClusterState, TailnetHead
from headscale_saas.store.tailnets import tailnet_from
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, ClusterId, Settings, Tailnet

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


async def create_tailnet(
    db: Database, actor: Actor, name: str, cluster: ClusterId, settings: Settings
) -> Tailnet:
    """`name` is a DNS label in lower case.

    Raises Invalid, Conflict (taken), NotFound (cluster), Refused (the cluster takes no new ones).
    """
    if not _NAME.fullmatch(name):
        raise Invalid("a tailnet's name is a DNS label: a-z, 0-9 and inner hyphens, at most 63", field="name")
    async with db.directory() as tx:
        home = await directory.get_cluster(tx, cluster)
        if home is None:
            raise NotFound("cluster not found", code="no_such_cluster")
        if home.state != ClusterState.ACTIVE:
            raise Refused(f"the cluster is {home.state}: it takes no new tailnet", code="cluster_not_active")
        head = await directory.create_tailnet(tx, name, cluster, settings)

    async def note(tx: TailnetTx) -> None:
        tx.audit("tailnet.create", f"tailnet {name}", {"cluster": cluster})

    await db.write(head.id, actor, note)
    return tailnet_from(head, settings)


async def list_tailnets(db: Database) -> list[TailnetHead]:
    """By id."""
    async with db.directory() as tx:
        return await directory.list_tailnets(tx)


async def show_tailnet(db: Database, name: str) -> Tailnet:
    """Raises NotFound (`tailnet "x" not found`)."""
    head = await _existing(db, name)
    async with db.read(head.id) as tx:
        return tailnet_from(tx.head, await settings_row.get(tx))


async def delete_tailnet(db: Database, actor: Actor, name: str, *, default: str = "") -> None:
    """With everything in it, for ever; only its audit log stays. Raises NotFound.

    Raises Refused for the `default` one: the next start would make it anew, empty.
    """
    demand_not_default(name, default)
    head = await _existing(db, name)

    async def note(tx: TailnetTx) -> None:
        tx.audit("tailnet.delete", f"tailnet {name}")

    await db.write(head.id, actor, note)
    async with db.directory() as tx:
        await directory.delete_tailnet(tx, head.id)


def demand_not_default(name: str, default: str) -> None:
    """Raises Refused if both are the same."""
    if name == default:
        raise Refused(
            f'tailnet "{name}" is the default one (tailnet.name): it cannot be deleted while it is that',
            code="default_tailnet",
        )


async def _existing(db: Database, name: str) -> TailnetHead:
    async with db.directory() as tx:
        head = await directory.tailnet_by_name(tx, name)
    if head is None:
        raise NotFound(f'tailnet "{name}" not found', code="no_such_tailnet")
    return head
