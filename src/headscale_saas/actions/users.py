"""What an admin does to users."""

import re
from urllib.parse import urlsplit

from msgspec.structs import replace

from headscale_saas.errors import Conflict, Invalid, NotFound
from headscale_saas.policy.atoms import tokens_of
from headscale_saas.store import auth_keys, nodes, users
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, TailnetId, User, UserId

MAX_NAME = 255
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*(@[A-Za-z0-9.-]+)?", re.ASCII)


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
    _check_name(name)
    _check_texts(display_name, email, picture_url)

    async def create(tx: TailnetTx) -> User:
        user = User(
            id=UserId(0),
            name=name,
            display_name=display_name,
            email=email,
            picture_url=picture_url,
            created_at=tx.now,
        )
        user = replace(user, id=await users.insert(tx, user))
        await _demand_unmistakable(tx, user)
        tx.touch(users=[user.id])
        tx.audit("user.create", f"user {user.id}", {"name": name})
        return user

    try:
        return await db.write(tailnet, actor, create)
    except Conflict as conflict:
        raise _told(conflict) from None


async def list_users(
    db: Database,
    tailnet: TailnetId,
    *,
    user: UserId | None = None,
    name: str | None = None,
    email: str | None = None,
) -> list[User]:
    """By id. Of several conditions only the first counts: name, e-mail, id (as headscale does)."""
    async with db.read(tailnet) as tx:
        if name is not None:
            return await users.find(tx, name=name)
        if email is not None:
            return await users.find(tx, email=email)
        return await users.find(tx, user=user)


async def rename_user(db: Database, actor: Actor, tailnet: TailnetId, user: UserId, name: str) -> User:
    """Raises NotFound ("user not found"), Invalid, Conflict."""
    _check_name(name)

    async def rename(tx: TailnetTx) -> User:
        before = await _existing(tx, user)
        if before.name == name:
            return before
        await users.rename(tx, user, name)
        await _demand_unmistakable(tx, replace(before, name=name))
        tx.touch(users=[user])
        tx.audit("user.rename", f"user {user}", {"from": before.name, "to": name})
        return replace(before, name=name)

    try:
        return await db.write(tailnet, actor, rename)
    except Conflict as conflict:
        raise _told(conflict) from None


async def destroy_user(db: Database, actor: Actor, tailnet: TailnetId, user: UserId) -> None:
    """Deletes the user and its auth keys. Raises NotFound; Conflict while it has nodes."""

    async def destroy(tx: TailnetTx) -> None:
        gone = await _existing(tx, user)
        if await nodes.count_of_user(tx, user):
            raise Conflict("user not empty: node(s) found", code="user_in_use")
        for key in await auth_keys.of_user(tx, user):
            # A tagged node may have joined with a key of this user; it only forgets which.
            tx.touch(nodes=await auth_keys.delete(tx, key))
        await users.delete(tx, user)
        tx.touch(users=[user])
        tx.audit("user.delete", f"user {user}", {"name": gone.name})

    await db.write(tailnet, actor, destroy)


async def _demand_unmistakable(tx: TailnetTx, user: User) -> None:
    """A policy names users by words: what is meant for another must not become this one's, too."""
    words = tokens_of(user)
    for other in await users.called(tx, words):
        if other.id != user.id and (shared := words & tokens_of(other)):
            raise Conflict(f"user {other.id} is called {min(shared)} already", code="word_is_taken")


async def _existing(tx: TailnetTx, user: UserId) -> User:
    found = await users.get(tx, user)
    if found is None:
        raise NotFound("user not found", code="no_such_user")
    return found


def _told(conflict: Conflict) -> Conflict:
    """In headscale's words, where it has any."""
    if conflict.code == "word_is_taken":
        return conflict
    return Conflict("user already exists", code=conflict.code)


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME:
        raise Invalid("username is too long", field="name")
    if not _NAME.fullmatch(name):
        raise Invalid(
            "username must begin with a letter and contain only letters, digits, '-', '_', '.', and one '@'",
            field="name",
        )


def _check_texts(display_name: str, email: str, picture_url: str) -> None:
    if max(len(display_name), len(email)) > MAX_NAME or len(picture_url) > 2048:
        raise Invalid("a text is too long", field="display_name")
    if any(not text.isprintable() for text in (display_name, email)):
        raise Invalid("a text has characters that cannot be shown", field="display_name")
    if picture_url and urlsplit(picture_url).scheme not in ("http", "https"):
        raise Invalid("invalid picture URL: it must begin with https://", field="picture_url")
