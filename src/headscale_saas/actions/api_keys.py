"""The keys of the admin API of one tailnet."""

from datetime import datetime

import msgspec
from msgspec.structs import replace

from headscale_saas.access import credentials
from headscale_saas.access.credentials import KeyKind
from headscale_saas.errors import Invalid, NotFound
from headscale_saas.store import api_keys
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, ApiKey, KeyId, TailnetId


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is the whole key with its secret: shown once, stored nowhere."""

    key: ApiKey
    text: str


async def create_api_key(
    db: Database, actor: Actor, tailnet: TailnetId, *, expires_at: datetime | None = None
) -> NewApiKey:
    """No expiry means never."""
    made = credentials.new_key(KeyKind.API)

    async def create(tx: TailnetTx) -> ApiKey:
        key = ApiKey(
            id=KeyId(0),
            prefix=made.prefix,
            secret_hash=made.secret_hash,
            created_at=tx.now,
            expires_at=expires_at,
        )
        key = replace(key, id=await api_keys.insert(tx, key))
        tx.audit("api_key.create", f"api key {key.id}", {"prefix": key.prefix})
        return key

    return NewApiKey(key=await db.write(tailnet, actor, create), text=made.text)


async def list_api_keys(db: Database, tailnet: TailnetId) -> list[ApiKey]:
    """By id."""
    async with db.read(tailnet) as tx:
        return await api_keys.list_all(tx)


async def expire_api_key(
    db: Database, actor: Actor, tailnet: TailnetId, *, key: KeyId | None = None, prefix: str | None = None
) -> ApiKey:
    """One of `key` and `prefix`. Raises Invalid for none or both, NotFound."""
    _check_one(key, prefix)

    async def expire(tx: TailnetTx) -> ApiKey:
        before = await _existing(tx, key, prefix)
        if before.expires_at is not None and before.expires_at <= tx.now:
            return before
        await api_keys.set_expiry(tx, before.id, tx.now)
        tx.audit("api_key.expire", f"api key {before.id}", {"prefix": before.prefix})
        return replace(before, expires_at=tx.now)

    return await db.write(tailnet, actor, expire)


async def delete_api_key(
    db: Database, actor: Actor, tailnet: TailnetId, *, key: KeyId | None = None, prefix: str | None = None
) -> None:
    """One of `key` and `prefix`. Raises Invalid for none or both, NotFound."""
    _check_one(key, prefix)

    async def delete(tx: TailnetTx) -> None:
        gone = await _existing(tx, key, prefix)
        await api_keys.delete(tx, gone)
        tx.audit("api_key.delete", f"api key {gone.id}", {"prefix": gone.prefix})

    await db.write(tailnet, actor, delete)


def _check_one(key: KeyId | None, prefix: str | None) -> None:
    if key is None and prefix is None:
        raise Invalid("either --id or --prefix must be provided", field="id")
    if key is not None and prefix is not None:
        raise Invalid("only one of --id or --prefix can be provided", field="id")


async def _existing(tx: TailnetTx, key: KeyId | None, prefix: str | None) -> ApiKey:
    found = await api_keys.find(tx, key=key, prefix=prefix)
    if found is None:
        raise NotFound("api key not found", code="no_such_api_key")
    return found
