"""A tailnet's settings."""

from headscale_saas.store.database import Database
from headscale_saas.store.tailnets import settings_to_text
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, Settings, TailnetId


async def set_settings(db: Database, actor: Actor, tailnet: TailnetId, settings: Settings) -> None:
    """Replaces all settings; every node is told what concerns it. Raises NotFound."""

    async def verb(tx: TailnetTx) -> None:
        text = settings_to_text(settings)
        changed = await tx.execute("update tailnet_settings set settings = $1 where settings <> $1", text)
        if changed:
            tx.touch(settings=True)
            tx.audit("tailnet.settings", "settings", {"settings": text})

    await db.write(tailnet, actor, verb)
