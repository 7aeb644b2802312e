"""The keys of the admin API of one tailnet."""

from datetime import datetime

import msgspec

from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import Actor, ApiKey, KeyId, TailnetId


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is the whole key with its secret: shown once, stored nowhere."""

    key: ApiKey
    text: str


async def create_api_key(
    db: Database, actor: Actor, tailnet: TailnetId, *, expires_at: datetime | None = None
) -> NewApiKey:
    """No expiry means never."""
    raise NotImplementedError


async def list_api_keys(db: Database, tailnet: TailnetId) -> list[ApiKey]:
    """By id."""
    raise NotImplementedError


async def expire_api_key(
    db: Database, actor: Actor, tailnet: TailnetId, *, key: KeyId | None = None, prefix: str | None = None
) -> ApiKey:
    """One of `key` and `prefix`. Raises Invalid for none or both, NotFound."""
    raise NotImplementedError


async def delete_api_key(
    db: Database, actor: Actor, tailnet: TailnetId, *, key: KeyId | None = None, prefix: str | None = None
) -> None:
    """One of `key` and `prefix`. Raises Invalid for none or both, NotFound."""
    raise NotImplementedError
