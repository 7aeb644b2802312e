"""Tailnets as a whole."""

from headscale_saas.store.database import Database
from headscale_saas.store.directory import TailnetHead
from headscale_saas.tailnet.model import Actor, ClusterId, Settings, Tailnet


async def create_tailnet(
    db: Database, actor: Actor, name: str, cluster: ClusterId, settings: Settings
) -> Tailnet:
    """`name` is a DNS label in lower case. Raises Invalid, Conflict (taken), NotFound (cluster)."""
    raise NotImplementedError


async def list_tailnets(db: Database) -> list[TailnetHead]:
    """By id."""
    raise NotImplementedError


async def show_tailnet(db: Database, name: str) -> Tailnet:
    """Raises NotFound ("tailnet not found")."""
    raise NotImplementedError


async def delete_tailnet(db: Database, actor: Actor, name: str) -> None:
    """With everything in it, for ever. Raises NotFound."""
    raise NotImplementedError
