"""The settings of a tailnet: one row of JSON text."""

from functools import lru_cache

from headscale_saas.store.tailnets import settings_from_text, settings_to_text
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Settings


async def get(tx: TailnetTx) -> Settings:
    """The settings of the transaction's tailnet."""
    text: str = await tx.fetchval("select settings from tailnet_settings where tailnet_id = $1", tx.tailnet)
    return from_text(text)


async def put(tx: TailnetTx, settings: Settings) -> bool:
    """False: they are the same already."""
    sql = "update tailnet_settings set settings = $2 where tailnet_id = $1 and settings <> $2"
    return await tx.execute(sql, tx.tailnet, settings_to_text(settings)) == 1


@lru_cache(maxsize=1024)
def from_text(text: str) -> Settings:
    """Read once for each text: all joins of a tailnet ask for the same."""
    return settings_from_text(text)
