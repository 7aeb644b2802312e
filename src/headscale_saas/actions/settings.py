"""A tailnet's settings."""

from headscale_saas.store import settings as settings_row
from headscale_saas.store.database import Database
from headscale_saas.store.tailnets import settings_to_text
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, Settings, TailnetId


async def set_settings(db: Database, actor: Actor, tailnet: TailnetId, settings: Settings) -> None:
    """Replaces all settings; every node is told what concerns it. Raises NotFound."""

    async def verb(tx: TailnetTx) -> None:
        if await settings_row.put(tx, settings):
            tx.touch(settings=True)
            tx.audit("tailnet.settings", "settings", {"settings": settings_to_text(settings)})

    await db.write(tailnet, actor, verb)
