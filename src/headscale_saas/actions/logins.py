"""A login that waits for a person: begun by a device, followed up by it, decided by somebody."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from headscale_saas.access import credentials
from headscale_saas.actions import joins, leaving
from headscale_saas.actions.approvals import PolicyOf
from headscale_saas.actions.outcome import Declined, Outcome, Pending, Registered
from headscale_saas.errors import AlreadyUsed, Invalid, LimitReached, NotFound
from headscale_saas.store import directory, nodes
from headscale_saas.store import logins as waiting
from headscale_saas.store.database import Database
from headscale_saas.store.directory import PendingLogin
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.codec import decode, encode
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailnet.model import Actor, Node, NodeId, RegisterMethod, TailnetId, UserId
from headscale_saas.tailnet.rules import Join

FLOW = "register"
LIFETIME = timedelta(days=7)
"""Clients offer the same URL for a little less (`StartLoginInteractiveAs`)."""

MOST_ASKED = 5000
MOST_KEPT = 16 << 10
"""Bytes of a request that waits."""

ADMINS = frozenset({"cli", "api_key", "system"})
"""Kinds of actors who act for the whole tailnet, so may renew a tagged node as what it is."""

NOT_YOURS = "this login cannot be followed up: log in again"

WaitForLogin = Callable[[bytes], Awaitable[None]]
"""Returns when the login with this id hash may have been decided (or some time has passed)."""


class LoginWaiters:
    """All follow-ups that this process holds open; one query looks for all of them.

    `serve` calls `look` when the doorbell says that logins moved, and every two seconds. `wait` is the
    port that `register` takes.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, set[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def wait(self, id_hash: bytes) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(id_hash, set()).add(future)
        try:
            await future
        finally:
            self._forget(id_hash, future)

    async def look(self, db: Database) -> None:
        """Wakes those whose login does not wait any more. Raises Unavailable."""
        asked = list(self._waiting)
        for start in range(0, len(asked), MOST_ASKED):
            some = asked[start : start + MOST_ASKED]
            async with db.directory() as tx:
                undecided = await waiting.undecided(tx, some)
            for id_hash in some:
                if id_hash not in undecided:
                    self._wake(id_hash)

    def _wake(self, id_hash: bytes) -> None:
        for future in self._waiting.get(id_hash, ()):
            if not future.done():
                future.set_result(None)

    def _forget(self, id_hash: bytes, future: asyncio.Future[None]) -> None:
        futures = self._waiting[id_hash]
        futures.discard(future)
        if not futures:
            del self._waiting[id_hash]


async def begin_login(db: Database, join: Join, origin: str) -> Pending:
    """Notes that the device waits; what the same machine was waiting for is forgotten.

    Raises LimitReached: too many machines wait; Invalid: its tags are too long for any tailnet.
    """
    login_id = credentials.new_login_id()
    now = datetime.now(UTC)
    login = PendingLogin(
        id_hash=credentials.hash_of(login_id),
        flow=FLOW,
        machine_key=join.machine_key,
        node_key=join.node_key,
        request=_kept(join),
        origin=origin[:200],
        created_at=now,
        expires_at=now + LIFETIME,
    )
    async with db.strangers(origin) as tx:
        try:
            await directory.put_login(tx, login)
        except LimitReached:
            await waiting.make_room(tx)
            await directory.put_login(tx, login)
    return Pending(login_id=login_id)


async def follow_login(db: Database, join: Join, login_id: str, origin: str, wait: WaitForLogin) -> Outcome:
    """Waits for the verdict. A login that is not there (any more) is begun anew, under a new id."""
    id_hash = credentials.hash_of(login_id)
    while True:
        async with db.strangers(origin) as tx:
            login = await directory.find_login(tx, id_hash)
        if login is not None and login.machine_key != join.machine_key:
            return Declined(message=NOT_YOURS)
        if login is None or login.flow != FLOW or login.node_key != join.node_key:
            return await begin_login(db, join, origin)
        if login.verdict is not None:
            return await _resolved(db, login) or await begin_login(db, join, origin)
        await wait(id_hash)


async def approve_login(
    db: Database, policy_of: PolicyOf, actor: Actor, tailnet: TailnetId, user: UserId, login_id: str
) -> Node:
    """Lets the waiting device in as a node of the user. Approving twice for one user gives the same node.

    Ring the doorbell of logins after it. Raises Invalid ("invalid auth_id …"), NotFound ("no pending auth
    session …", "user not found"), AlreadyUsed (decided otherwise before), Refused (a rule of the tailnet
    says no), LimitReached, Conflict (the node key was taken meanwhile).
    """
    login = await _pending(db, login_id)
    if login.verdict == "rejected" or login.tailnet not in (None, tailnet):
        raise AlreadyUsed("this login was decided already", code="login_used")
    join = decode(Join, login.request.encode())
    method = RegisterMethod.OIDC if actor.kind == "user" else RegisterMethod.CLI

    async def enter(tx: TailnetTx) -> Registered:
        return await joins.by_person(tx, policy_of, join, user, method, is_admin=actor.kind in ADMINS)

    node = (await db.write(tailnet, actor, enter)).node
    try:
        await _decide(db, login, tailnet, node.id)
    except AlreadyUsed:
        # Rejected in the meantime: the verdict that the device is told is the one that holds.
        await _expire(db, actor, tailnet, node.id)
        raise
    return node


async def reject_login(db: Database, actor: Actor, login_id: str, reason: str = "") -> None:
    """Turns the waiting device away; it is told the reason. Raises as `approve_login`."""
    login = await _pending(db, login_id)
    message = (reason or "the login was rejected")[:200]
    async with db.directory() as tx:
        await directory.decide_login(tx, login.id_hash, "rejected", reason=message)


async def _pending(db: Database, login_id: str) -> PendingLogin:
    id_hash = credentials.hash_of(credentials.read_login_id(login_id))
    async with db.directory() as tx:
        login = await directory.find_login(tx, id_hash)
    if login is None or login.flow != FLOW:
        raise NotFound("no pending auth session found for this auth_id", code="no_such_login")
    return login


async def _decide(db: Database, login: PendingLogin, tailnet: TailnetId, node: NodeId) -> None:
    async with db.directory() as tx:
        await directory.decide_login(tx, login.id_hash, "approved", tailnet=tailnet, node=node)


async def _expire(db: Database, actor: Actor, tailnet: TailnetId, node: NodeId) -> None:
    async def expire(tx: TailnetTx) -> None:
        before = await nodes.get(tx, node)
        if before is not None:
            await leaving.expire(tx, before)

    await db.write(tailnet, actor, expire)


async def _resolved(db: Database, login: PendingLogin) -> Outcome | None:
    """What a decided login tells its device; None if the node is gone again."""
    if login.verdict == "rejected" or login.tailnet is None or login.node is None:
        return Declined(message=login.reason or "the login was rejected")
    async with db.read(login.tailnet) as tx:
        node = await nodes.get(tx, login.node)
        if node is None or node.node_key != login.node_key:
            return None
        return await joins.registered(tx, node)


def _kept(join: Join) -> str:
    """Without what is long, and comes again with the node's first report: ten thousand strangers may wait."""
    told = join.hostinfo
    lean = replace(told, services=(), net_info=None, ssh_host_keys=(), wol_macs=())
    text = encode(replace(join, hostinfo=lean))
    if len(text) > MOST_KEPT:
        least = Hostinfo(os=told.os, hostname=told.hostname, request_tags=told.request_tags)
        text = encode(replace(join, hostinfo=least))
    if len(text) > MOST_KEPT:
        raise Invalid("too many tags, or too long ones", field="RequestTags")
    return text.decode()
