"""The line that `serve --join-line` prints: a key for whoever reads the terminal.

The key is reusable for a day, and belongs to a user made for it. It is kept in the state directory, beside
the service's own keys, so that a server that is started again prints the same line, and the list of keys does
not grow. A key that has less than half of its day left is replaced.
"""

import getpass
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headscale_saas.access.credentials import KeyKind, is_genuine, read_key
from headscale_saas.actions import auth_keys, users
from headscale_saas.observe import get_logger
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import Actor, AuthKey, TailnetId

FILE = "join.key"
USER = "me"
LIFETIME = timedelta(hours=24)

log = get_logger(__name__)


async def join_key(database: Database, tailnet: TailnetId, state_dir: Path) -> str:
    """The key of the last start, if it is good for long enough, else a new one."""
    path = state_dir / FILE
    kept = _kept(path)
    if kept and _is_good(kept, await auth_keys.list_auth_keys(database, tailnet)):
        return kept
    made = await _make(database, tailnet)
    try:
        _keep(path, made)
    except OSError as problem:
        log.warning("join_key_not_kept", path=str(path), reason=str(problem))
    return made


def _is_good(text: str, known: list[AuthKey]) -> bool:
    read = read_key(KeyKind.AUTH, text)
    key = next((key for key in known if read and key.prefix == read.prefix), None)
    if read is None or key is None or not is_genuine(read, key.secret_hash):
        return False
    left = timedelta(0) if key.expires_at is None else key.expires_at - datetime.now(UTC)
    return key.reusable and key.revoked_at is None and left > LIFETIME / 2


async def _make(database: Database, tailnet: TailnetId) -> str:
    actor = Actor(kind="cli", name=getpass.getuser(), origin=socket.gethostname())
    known = await users.list_users(database, tailnet, name=USER)
    user = known[0] if known else await users.create_user(database, actor, tailnet, USER)
    expires_at = datetime.now(UTC) + LIFETIME
    made = await auth_keys.create_auth_key(
        database, actor, tailnet, user=user.id, reusable=True, expires_at=expires_at
    )
    return made.text


def _kept(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""


def _keep(path: Path, text: str) -> None:
    """Whole or not at all, and for us only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    draft.rename(path)
