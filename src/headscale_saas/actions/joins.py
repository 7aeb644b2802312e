"""Letting a device in: with an auth key, or because a person approved it.

One entrance for both: what is known is read, `rules.admit` decides, and what it decided is written, all in
the tailnet's lane. A refusal of an auth key is a value here, so that its audit row is kept.
"""

import secrets
from functools import partial
from ipaddress import IPv4Address

import msgspec
from msgspec.structs import replace

from headscale_saas.access import credentials
from headscale_saas.access.credentials import Credential
from headscale_saas.actions import places, repeats
from headscale_saas.actions.approvals import PolicyOf, may_have_tags, with_approved_routes
from headscale_saas.actions.misses import REFUSALS
from headscale_saas.actions.outcome import Declined, KeyExpired, Registered
from headscale_saas.errors import AlreadyUsed, LimitReached, NotFound, Refused
from headscale_saas.store import auth_keys, joins, nodes, users
from headscale_saas.store.joins import Facts
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailcfg.keys import DiscoKey
from headscale_saas.tailnet import expiry, names, rules, tags
from headscale_saas.tailnet.model import Node, NodeId, RegisterMethod, User, UserId
from headscale_saas.tailnet.names import Search
from headscale_saas.tailnet.rules import Create, Grant, Join, Keep, NeedsNewKey, Renew

Entered = Registered | KeyExpired | Declined


class Entrance(msgspec.Struct, frozen=True, kw_only=True):
    """One device at the door, and what is known about it there."""

    tx: TailnetTx
    policy_of: PolicyOf
    join: Join
    facts: Facts
    search: Search


async def with_key(tx: TailnetTx, policy_of: PolicyOf, credential: Credential, join: Join) -> Entered:
    """The verb of a join by auth key. Raises Conflict if the node key is somebody else's."""
    entrance = await _look(tx, policy_of, join, prefix=credential.prefix)
    try:
        return await _enter(entrance, await _grant(entrance, credential))
    except (Refused, LimitReached) as refusal:
        _audit_refusal(tx, join, entrance.facts, refusal.code)
        return Declined(message=refusal.message)


async def without_writing(
    tx: TailnetTx, policy_of: PolicyOf, credential: Credential, join: Join
) -> Registered | KeyExpired | None:
    """What a join by auth key comes to, if nothing has to be written for it; None: it has to."""
    entrance = await _look(tx, policy_of, join, prefix=credential.prefix)
    try:
        grant = await _grant(entrance, credential)
        admission = rules.admit(join, grant, entrance.facts.here, tx.now)
    except (Refused, LimitReached):
        return None
    if isinstance(admission, Keep):
        return await registered(tx, admission.node, entrance.facts.user)
    return KeyExpired() if isinstance(admission, NeedsNewKey) else None


async def is_welcome(tx: TailnetTx, policy_of: PolicyOf, credential: Credential, join: Join) -> bool:
    """Whether the auth key would let the device in, if it came with another node key."""
    entrance = await _look(tx, policy_of, join, prefix=credential.prefix)
    grant = await _grant(entrance, credential)
    try:
        rules.admit(join, grant, entrance.facts.here, tx.now)
    except (Refused, LimitReached):
        return False
    return True


async def by_person(
    tx: TailnetTx, policy_of: PolicyOf, join: Join, user: UserId, method: RegisterMethod, *, is_admin: bool
) -> Registered:
    """The verb of an approved login. Raises NotFound (user), Refused, LimitReached, AlreadyUsed, Conflict."""
    entrance = await _look(tx, policy_of, join, user=user)
    owner = entrance.facts.user
    if owner is None:
        raise NotFound("user not found", code="no_such_user")
    grant = Grant(user_id=user, method=method, takes_tagged=is_admin)
    wanted = join.hostinfo.request_tags
    if wanted:
        if not await may_have_tags(tx, policy_of, owner, (), wanted):
            raise tags.refusal(wanted)
        grant = Grant(user_id=None, tags=tags.checked(wanted), method=method)
    entered = await _enter(entrance, grant)
    if isinstance(entered, KeyExpired):
        raise AlreadyUsed("this login was approved for another owner", code="login_used")
    return entered


async def registered(tx: TailnetTx, node: Node, user: User | None = None) -> Registered:
    """The answer for a node that is in. Its owner is read, unless `user` is the owner."""
    owner = user if user is not None and user.id == node.user_id else None
    if owner is None and node.user_id is not None:
        owner = await users.get(tx, node.user_id)
    # An earlier verb of the same batch may have made the node; then its version is made, too.
    is_new = tx.is_touched or not tx.is_at_head
    version = tx.next_version if is_new else tx.head.version
    return Registered(tailnet=tx.tailnet, version=version, node=node, user=owner)


async def note_foreign_key(tx: TailnetTx, credential: Credential, join: Join) -> None:
    """Leaves the audit row of a join that failed on somebody else's node key."""
    facts = await joins.facts(tx, join.machine_key, join.node_key, prefix=credential.prefix)
    _audit_refusal(tx, join, facts, "key_in_use")


def _audit_refusal(tx: TailnetTx, join: Join, facts: Facts, result: str) -> None:
    # Numbers of tailnets count anew in every database.
    detail = {"auth_key": facts.auth_key.id if facts.auth_key else 0, "result": result}
    share = partial(REFUSALS.left_out, (tx.tailnet, tx.head.created_at))
    tx.audit("node.refuse", f"machine {join.machine_key}", detail, share)


async def _grant(entrance: Entrance, credential: Credential) -> Grant | None:
    key = entrance.facts.auth_key
    is_genuine = credentials.is_genuine(credential, None if key is None else key.secret_hash)
    if key is None or not is_genuine:
        return None
    return await _with_wanted_tags(entrance, rules.by_key(key))


async def _with_wanted_tags(entrance: Entrance, grant: Grant) -> Grant:
    """A key with tags also gives tags that its own ones own; a key without gives none, as with headscale."""
    wanted = entrance.join.hostinfo.request_tags
    if not grant.tags or set(wanted) <= set(grant.tags):
        return grant
    if await may_have_tags(entrance.tx, entrance.policy_of, None, grant.tags, wanted):
        return replace(grant, tags=tags.checked(wanted))
    return grant


async def _look(
    tx: TailnetTx,
    policy_of: PolicyOf,
    join: Join,
    *,
    prefix: str | None = None,
    user: UserId | None = None,
) -> Entrance:
    search = names.search(names.sanitised(join.hostinfo.hostname))
    asked = names.probes(search)
    facts = await joins.facts(tx, join.machine_key, join.node_key, asked, prefix=prefix, user=user)
    return Entrance(
        tx=tx,
        policy_of=policy_of,
        join=join,
        facts=facts,
        search=names.narrowed(search, asked, facts.names),
    )


async def _enter(entrance: Entrance, grant: Grant | None) -> Registered | KeyExpired:
    tx, user = entrance.tx, entrance.facts.user
    admission = rules.admit(entrance.join, grant, entrance.facts.here, tx.now)
    if isinstance(admission, Keep):
        return await registered(tx, admission.node, user)
    if isinstance(admission, NeedsNewKey) or grant is None:
        return KeyExpired()
    if isinstance(admission, Create):
        node = await _create(entrance, grant)
    else:
        node = await _renew(entrance, grant, admission)
    tx.touch(nodes=[node.id])
    repeats.note(tx, "node.register", node, _detail(entrance, grant, admission))
    return await registered(tx, node, user)


async def _renew(entrance: Entrance, grant: Grant, admission: Renew) -> Node:
    tx, before, key = entrance.tx, admission.node, grant.auth_key
    if key is not None and not key.reusable and not await auth_keys.spend(tx, key.id):
        raise _used_up()
    after = rules.renewed(before, entrance.join, grant, entrance.facts.settings, tx.now)
    if after.hostname != before.hostname:
        after = replace(after, name=await places.name_for(tx, before, after.hostname))
    after = await with_approved_routes(tx, entrance.policy_of, after, _owner(entrance, after))
    await nodes.update(tx, before, after)
    return after


async def _create(entrance: Entrance, grant: Grant) -> Node:
    tx, key = entrance.tx, grant.auth_key
    node = await _new_node(entrance, grant)
    node = await with_approved_routes(tx, entrance.policy_of, node, _owner(entrance, node))
    number = await nodes.insert(tx, node, spends=None if key is None or key.reusable else key.id)
    if number is None:
        raise _used_up()
    return replace(node, id=number)


async def _new_node(entrance: Entrance, grant: Grant) -> Node:
    tx, join, settings = entrance.tx, entrance.join, entrance.facts.settings
    return Node(
        id=NodeId(0),
        stable_id=f"n{secrets.token_hex(8)}",
        machine_key=join.machine_key,
        node_key=join.node_key,
        disco_key=DiscoKey.zero(),
        tailnet_lock_key=join.tailnet_lock_key,
        user_id=grant.user_id,
        tags=grant.tags,
        hostname=join.hostinfo.hostname,
        name=await places.free_name(tx, entrance.search),
        ipv4=await _ipv4(entrance, grant),
        ipv6=await places.ipv6(tx, settings, entrance.facts.ipv6),
        created_at=tx.now,
        expires_at=expiry.first(join.wish, settings.node_expiry, is_tagged=bool(grant.tags), now=tx.now),
        ephemeral=grant.ephemeral or join.ephemeral,
        auth_key_id=grant.auth_key_id,
        register_method=grant.method,
        capver=join.capver,
        hostinfo=join.hostinfo,
    )


async def _ipv4(entrance: Entrance, grant: Grant) -> IPv4Address | None:
    tx, facts = entrance.tx, entrance.facts
    approvals = None if facts.policy_etag is None else await entrance.policy_of(tx, facts.policy_etag)
    if approvals is None or not approvals.has_address_pools:
        return await places.ipv4(tx, facts.settings, facts.ipv4)
    pools = approvals.address_pools(None if grant.tags else facts.user, grant.tags)
    return await places.ipv4_beside_pools(tx, facts.settings, pools)


def _owner(entrance: Entrance, node: Node) -> User | None:
    return None if node.is_tagged else entrance.facts.user


def _detail(entrance: Entrance, grant: Grant, admission: Create | Renew) -> dict[str, object]:
    return {
        "result": "created" if isinstance(admission, Create) else "renewed",
        "method": grant.method.value,
        "auth_key": grant.auth_key_id or 0,
        "machine_key": str(entrance.join.machine_key),
        "node_key": str(entrance.join.node_key),
    }


def _used_up() -> Refused:
    return Refused("authkey already used", code="auth_key_used")
