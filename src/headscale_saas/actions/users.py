"""What an admin does to users."""

from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import Actor, TailnetId, User, UserId


async def create_user(
    db: Database,
    actor: Actor,
    tailnet: TailnetId,
    name: str,
    *,
    display_name: str = "",
    email: str = "",
    picture_url: str = "",
) -> User:
    """Raises Invalid (name, URL), Conflict ("user already exists")."""
    raise NotImplementedError


async def list_users(
    db: Database,
    tailnet: TailnetId,
    *,
    user: UserId | None = None,
    name: str | None = None,
    email: str | None = None,
) -> list[User]:
    """By id. Of several conditions only the first counts: name, e-mail, id (as headscale does)."""
    raise NotImplementedError


async def rename_user(db: Database, actor: Actor, tailnet: TailnetId, user: UserId, name: str) -> User:
    """Raises NotFound ("user not found"), Invalid, Conflict."""
    raise NotImplementedError


async def destroy_user(db: Database, actor: Actor, tailnet: TailnetId, user: UserId) -> None:
    """Deletes the user and its auth keys. Raises NotFound; Conflict while it has nodes."""
    raise NotImplementedError
