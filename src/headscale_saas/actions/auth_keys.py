"""The keys that nodes join with."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from headscale_saas.access import credentials
from headscale_saas.access.credentials import KeyKind
from headscale_saas.errors import Invalid, NotFound
from headscale_saas.store import auth_keys, users
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet import tags as tag_rules
from headscale_saas.tailnet.model import Actor, AuthKey, KeyId, TailnetId, UserId


class NewAuthKey(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is the whole key with its secret: shown once, stored nowhere."""

    key: AuthKey
    text: str


async def create_auth_key(
    db: Database,
    actor: Actor,
    tailnet: TailnetId,
    *,
    user: UserId | None = None,
    tags: Sequence[str] = (),
    reusable: bool = False,
    ephemeral: bool = False,
    expires_at: datetime | None = None,
) -> NewAuthKey:
    """No expiry means never. Raises NotFound (user), Invalid (neither user nor tags; a bad tag)."""
    given = tag_rules.checked(tags)
    if user is None and not given:
        raise Invalid("a key needs a user or tags", field="user")
    made = credentials.new_key(KeyKind.AUTH)

    async def create(tx: TailnetTx) -> AuthKey:
        if user is not None and await users.get(tx, user) is None:
            raise NotFound("user not found", code="no_such_user")
        key = AuthKey(
            id=KeyId(0),
            prefix=made.prefix,
            secret_hash=made.secret_hash,
            user_id=user,
            tags=given,
            reusable=reusable,
            ephemeral=ephemeral,
            created_at=tx.now,
            expires_at=expires_at,
        )
        key = replace(key, id=await auth_keys.insert(tx, key))
        detail = {"prefix": key.prefix, "user": user or 0, "tags": given, "reusable": reusable}
        tx.audit("auth_key.create", f"auth key {key.id}", detail)
        return key

    return NewAuthKey(key=await db.write(tailnet, actor, create), text=made.text)


async def list_auth_keys(db: Database, tailnet: TailnetId) -> list[AuthKey]:
    """By id."""
    async with db.read(tailnet) as tx:
        return await auth_keys.list_all(tx)


async def expire_auth_key(db: Database, actor: Actor, tailnet: TailnetId, key: KeyId) -> AuthKey:
    """Nobody joins with it any more. Raises NotFound."""

    async def expire(tx: TailnetTx) -> AuthKey:
        before = await _existing(tx, key)
        if before.expires_at is not None and before.expires_at <= tx.now:
            return before
        await auth_keys.set_expiry(tx, key, tx.now)
        tx.audit("auth_key.expire", f"auth key {key}", {"prefix": before.prefix})
        return replace(before, expires_at=tx.now)

    return await db.write(tailnet, actor, expire)


async def delete_auth_key(db: Database, actor: Actor, tailnet: TailnetId, key: KeyId) -> None:
    """Nodes that joined with it stay. Raises NotFound."""

    async def delete(tx: TailnetTx) -> None:
        gone = await _existing(tx, key)
        tx.touch(nodes=await auth_keys.delete(tx, gone))
        tx.audit("auth_key.delete", f"auth key {key}", {"prefix": gone.prefix})

    await db.write(tailnet, actor, delete)


async def _existing(tx: TailnetTx, key: KeyId) -> AuthKey:
    found = await auth_keys.get(tx, key)
    if found is None:
        raise NotFound("auth key not found", code="no_such_auth_key")
    return found
