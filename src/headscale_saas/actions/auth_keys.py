"""The keys that nodes join with."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from headscale_saas.store.database import Database
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
    raise NotImplementedError


async def list_auth_keys(db: Database, tailnet: TailnetId) -> list[AuthKey]:
    """By id."""
    raise NotImplementedError


async def expire_auth_key(db: Database, actor: Actor, tailnet: TailnetId, key: KeyId) -> AuthKey:
    """Revokes it: nobody joins with it any more. Raises NotFound."""
    raise NotImplementedError


async def delete_auth_key(db: Database, actor: Actor, tailnet: TailnetId, key: KeyId) -> None:
    """Nodes that joined with it stay. Raises NotFound."""
    raise NotImplementedError
