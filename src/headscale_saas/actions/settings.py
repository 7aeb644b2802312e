"""A tailnet's settings."""

from msgspec.structs import replace

from headscale_saas.store import settings as settings_row
from headscale_saas.store.database import Database
from headscale_saas.store.tailnets import settings_to_text
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, Settings, TailnetId


async def set_settings(db: Database, actor: Actor, tailnet: TailnetId, settings: Settings) -> None:
    """Replaces all settings but the domains, which have a verb of their own (`domains`), because the policy
    has to hold with them. Every node is told what concerns it. Raises NotFound.
    """

    async def verb(tx: TailnetTx) -> None:
        wanted = replace(settings, domains=(await settings_row.get(tx)).domains)
        if await settings_row.put(tx, wanted):
            tx.touch(settings=True)
            tx.audit("tailnet.settings", "settings", {"settings": settings_to_text(wanted)})

    await db.write(tailnet, actor, verb)
