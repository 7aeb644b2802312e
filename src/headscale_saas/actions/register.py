"""A device asks to be let in: the one state machine of registration.

In this order, so that no later path can forget an earlier check:

    client too old                                    declined, naming the release it needs
    node key of another machine, in any tailnet       declined, saying nothing of whose it is
    an expiry in the past, with whatever else         logout; an unknown key: done already
    an expiry in the future, for a key that is in     shortened, never extended
    the key of a node that was deleted                "expired": the device makes a new one and comes back
    a follow-up                                       waits for the person
    an auth key                                       `joins`, in the lane of the key's tailnet
    a node key that is in                             success (a restart) or "expired"; nothing is written
    otherwise                                         a login begins
"""

from datetime import UTC, datetime

import msgspec

from headscale_saas.access import credentials
from headscale_saas.access.credentials import Credential, KeyKind
from headscale_saas.actions import joins, leaving
from headscale_saas.actions.approvals import PolicyOf
from headscale_saas.actions.logins import WaitForLogin, begin_login, follow_login
from headscale_saas.actions.misses import Misses
from headscale_saas.actions.outcome import Declined, KeyExpired, LoggedOut, Outcome, Registered
from headscale_saas.errors import Conflict, Invalid, NotFound
from headscale_saas.store import nodes
from headscale_saas.store.database import Database
from headscale_saas.store.directory import NodeRef
from headscale_saas.store.newcomers import Whereabouts
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg import capver
from headscale_saas.tailcfg.hostinfo import Hostinfo, bounded
from headscale_saas.tailcfg.keys import MachineKey
from headscale_saas.tailcfg.register import RegisterRequest
from headscale_saas.tailnet import expiry, rules
from headscale_saas.tailnet.model import Actor, TailnetId
from headscale_saas.tailnet.rules import Join

TOO_OLD = f"this client is too old: Tailscale {capver.FLOOR_RELEASE} or newer is needed"
NO_SUCH_KEY = Declined(message=rules.UNKNOWN_KEY)
MISSES = Misses()
FOREIGN_KEY = Declined(message=rules.KEY_IN_USE)


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request, with what the directory knows of it."""

    db: Database
    policy_of: PolicyOf
    join: Join
    request: RegisterRequest
    credential: Credential | None
    found: Whereabouts
    actor: Actor


async def register(
    db: Database,
    policy_of: PolicyOf,
    machine_key: MachineKey,
    protocol_version: int,
    request: RegisterRequest,
    origin: str,
    *,
    wait: WaitForLogin,
) -> Outcome:
    """Decides one `POST /machine/register`; sending it again is harmless.

    `machine_key` is the Noise peer, `protocol_version` the one of its handshake, `origin` its address.
    Returns when there is an answer: a follow-up takes as long as the person does, so the caller cancels
    it when the request goes away. Raises Invalid (what no client sends, or an expiry that would extend
    the key), LimitReached (too many logins wait) and Unavailable; every other "no" is an outcome.
    """
    version = max(protocol_version, request.version)
    if not capver.is_supported(version):
        return Declined(message=TOO_OLD)
    if request.node_key.is_zero or machine_key.is_zero:
        raise Invalid("the key is zero", field="NodeKey")
    credential = _credential(request)
    found = await db.newcomers.whereabouts(
        origin, request.node_key, request.old_node_key, credential.prefix if credential else None
    )
    attempt = Attempt(
        db=db,
        policy_of=policy_of,
        join=_join(machine_key, version, request),
        request=request,
        credential=credential,
        found=found,
        actor=Actor(kind="node", name=str(machine_key), origin=origin),
    )
    return await _decide(attempt, wait)


async def _decide(attempt: Attempt, wait: WaitForLogin) -> Outcome:
    request, found = attempt.request, attempt.found
    if _is_foreign(found.held, attempt.join) or _is_foreign(found.held_before, attempt.join):
        return FOREIGN_KEY
    if expiry.is_logout(request.expiry, datetime.now(UTC)) and found.held is None:
        return LoggedOut()
    if request.expiry is not None and found.held is not None:
        return await _heed(attempt, found.held, request.expiry)
    if found.is_resting:
        return KeyExpired()
    if request.followup:
        return await _follow(attempt, wait)
    if request.auth is not None and request.auth.auth_key:
        return await _with_key(attempt)
    if found.held is not None and (outcome := await _known(attempt, found.held)):
        return outcome
    return await begin_login(attempt.db, attempt.join, attempt.actor.origin)


def _is_foreign(ref: NodeRef | None, join: Join) -> bool:
    return ref is not None and ref.machine_key != join.machine_key


async def _heed(attempt: Attempt, ref: NodeRef, wish: datetime) -> Outcome:
    async def heed(tx: TailnetTx) -> Outcome:
        return await leaving.heed(tx, ref.node, attempt.join.machine_key, attempt.join.node_key, wish)

    try:
        return await attempt.db.write(ref.tailnet, attempt.actor, heed)
    except NotFound:
        return LoggedOut()


async def _follow(attempt: Attempt, wait: WaitForLogin) -> Outcome:
    login_id = credentials.login_id_in(attempt.request.followup)
    if login_id is None:
        return await begin_login(attempt.db, attempt.join, attempt.actor.origin)
    return await follow_login(attempt.db, attempt.join, login_id, attempt.actor.origin, wait)


async def _with_key(attempt: Attempt) -> Outcome:
    """A restart is answered without writing; the rest is decided in the lane of the key's tailnet."""
    found, credential = attempt.found, attempt.credential
    held = found.held
    if credential is None or found.auth_tailnet is None:
        if held is not None and (outcome := await _known(attempt, held)):
            return outcome
        MISSES.note(attempt.join.machine_key, attempt.actor.origin)
        return NO_SUCH_KEY
    if held is not None:
        outcome = await _without_writing(attempt, credential, found.auth_tailnet, held)
        if outcome is not None:
            return outcome
    try:
        return await _in_lane(attempt, credential, found.auth_tailnet)
    except NotFound:
        return NO_SUCH_KEY


async def _without_writing(
    attempt: Attempt, credential: Credential, tailnet: TailnetId, held: NodeRef
) -> Registered | KeyExpired | None:
    async with attempt.db.read(tailnet) as tx:
        if held.tailnet == tailnet:
            return await joins.without_writing(tx, attempt.policy_of, credential, attempt.join)
        # A node key belongs to one tailnet: with a good key for another one, the client makes a new one.
        is_welcome = await joins.is_welcome(tx, attempt.policy_of, credential, attempt.join)
    return KeyExpired() if is_welcome else None


async def _in_lane(attempt: Attempt, credential: Credential, tailnet: TailnetId) -> Outcome:
    async def enter(tx: TailnetTx) -> Outcome:
        return await joins.with_key(tx, attempt.policy_of, credential, attempt.join)

    async def refuse(tx: TailnetTx) -> None:
        await joins.note_foreign_key(tx, credential, attempt.join)

    try:
        return await attempt.db.write(tailnet, attempt.actor, enter)
    except Conflict:
        await attempt.db.write(tailnet, attempt.actor, refuse)
        return FOREIGN_KEY


async def _known(attempt: Attempt, ref: NodeRef) -> Registered | KeyExpired | None:
    """What a node that is in is told; None if it is gone."""
    try:
        async with attempt.db.read(ref.tailnet) as tx:
            node = await nodes.get(tx, ref.node)
            if node is None or node.machine_key != attempt.join.machine_key:
                return None
            if node.node_key != attempt.join.node_key or rules.is_expired(node, tx.now):
                return KeyExpired()
            return await joins.registered(tx, node)
    except NotFound:
        return None


def _credential(request: RegisterRequest) -> Credential | None:
    text = request.auth.auth_key if request.auth is not None else ""
    return credentials.read_key(KeyKind.AUTH, text)


def _join(machine_key: MachineKey, version: int, request: RegisterRequest) -> Join:
    return Join(
        machine_key=machine_key,
        node_key=request.node_key,
        tailnet_lock_key=request.nl_key,
        hostinfo=bounded(request.hostinfo or Hostinfo()),
        capver=version,
        wish=request.expiry,
        ephemeral=request.ephemeral,
    )
