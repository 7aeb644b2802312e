"""Whether a device may join, and as which node: one decision over rows, so that no path can forget a check.

`admit` is asked with a credential that is genuine (the secret matched, or a person approved). It answers
which node the device is: `Keep` an existing one as it is, `Renew` it with a new authorisation, or `Create`.

    device holds            credential               answer
    its key, not expired    the same owner's, or     Keep: the auth key is not looked at (containers restart
                            one that is gone         with one that was used up or deleted long ago)
    its key                 another owner's, valid   NeedsNewKey: one node key is one node
    a node of the owner     valid                    Renew
    only a user's node      tags, valid              Renew: it becomes the tagged node; of several: refused
    only a tagged node      a user, by an admin      Renew: it becomes the user's node, without tags
    nothing of the owner    valid                    Create
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from headscale_saas.errors import LimitReached, Refused
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.keys import MachineKey, NodeKey, TailnetLockKey
from headscale_saas.tailnet import expiry, tags
from headscale_saas.tailnet.model import AuthKey, KeyId, Node, RegisterMethod, Settings, UserId

UNKNOWN_KEY = "invalid pre auth key"
KEY_IN_USE = "this node key is in use: log in again"


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """What a device says when it asks to join. `hostinfo` is bounded already."""

    machine_key: MachineKey
    node_key: NodeKey
    tailnet_lock_key: TailnetLockKey
    hostinfo: Hostinfo
    capver: int
    wish: datetime | None = None
    ephemeral: bool = False


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a credential gives: a user, or tags. `auth_key` is None where a person approved.

    `takes_tagged`: an admin gives the machine's tagged node, which asks for no tags any more, to the user.
    """

    user_id: UserId | None
    tags: tuple[str, ...] = ()
    ephemeral: bool = False
    method: RegisterMethod
    auth_key: AuthKey | None = None
    takes_tagged: bool = False

    @property
    def auth_key_id(self) -> KeyId | None:
        return None if self.auth_key is None else self.auth_key.id


class Keep(msgspec.Struct, frozen=True):
    node: Node


class Renew(msgspec.Struct, frozen=True):
    node: Node


class Create(msgspec.Struct, frozen=True):
    pass


class NeedsNewKey(msgspec.Struct, frozen=True):
    """The client has to make a new node key first."""


Admission = Keep | Renew | Create | NeedsNewKey


def by_key(key: AuthKey) -> Grant:
    """What an auth key gives: its tags win over its user."""
    return Grant(
        user_id=None if key.tags else key.user_id,
        tags=key.tags,
        ephemeral=key.ephemeral,
        method=RegisterMethod.AUTH_KEY,
        auth_key=key,
    )


def admit(
    join: Join, grant: Grant | None, here: Sequence[Node], now: datetime, *, room: int | None = None
) -> Admission:
    """Decides. `here` are the tailnet's nodes with this machine key or this node key.

    `grant` is None for an auth key that does not exist or whose secret is wrong. `room` is how many more
    nodes the tailnet may have (None: no limit). Raises Refused, LimitReached.
    """
    holder = next((node for node in here if node.node_key == join.node_key), None)
    if holder is not None and holder.machine_key != join.machine_key:
        raise Refused(KEY_IN_USE, code="key_in_use")
    own = [node for node in here if node.machine_key == join.machine_key]
    node = holder if grant is None else _same_owner(own, grant)
    if holder is not None and holder is node and not is_expired(holder, now):
        return Keep(holder)
    if grant is None:
        raise Refused(UNKNOWN_KEY, code="auth_key_unknown")
    _check_grant(join, grant, now)
    node = node or _converted(own, grant)
    if holder is not None and holder is not node:
        return NeedsNewKey()
    if node is not None:
        return Renew(node)
    if room is not None and room <= 0:
        raise LimitReached("the tailnet has as many nodes as it may have", code="nodes_exhausted")
    return Create()


def is_expired(node: Node, now: datetime) -> bool:
    return node.expired or (node.expires_at is not None and node.expires_at <= now)


def check_auth_key(key: AuthKey, now: datetime) -> None:
    """Raises Refused in headscale's words."""
    if key.revoked_at is not None:
        raise Refused("authkey revoked", code="auth_key_revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise Refused("authkey expired", code="auth_key_expired")
    if key.used_at is not None and not key.reusable:
        raise Refused("authkey already used", code="auth_key_used")


def renewed(node: Node, join: Join, grant: Grant, settings: Settings, now: datetime) -> Node:
    """The node with its new authorisation. Name and addresses stay (`names` decides on a new hostname)."""
    is_tagged = bool(grant.tags or (node.tags and not grant.takes_tagged))
    # The tags that an admin gave after the join outlive a renewal with the key of the join.
    is_same_key = grant.auth_key is not None and node.auth_key_id == grant.auth_key_id
    keeps_tags = is_tagged and bool(node.tags) and (is_same_key or not grant.tags)
    return msgspec.structs.replace(
        node,
        node_key=join.node_key,
        tailnet_lock_key=join.tailnet_lock_key,
        user_id=None if is_tagged else grant.user_id,
        tags=node.tags if keeps_tags else grant.tags,
        hostname=join.hostinfo.hostname,
        expires_at=expiry.first(join.wish, settings.node_expiry, is_tagged=is_tagged, now=now),
        expired=False,
        ephemeral=grant.ephemeral or join.ephemeral,
        auth_key_id=grant.auth_key_id,
        register_method=grant.method,
        capver=join.capver,
        hostinfo=merged(node.hostinfo, join.hostinfo),
    )


def merged(before: Hostinfo, told: Hostinfo) -> Hostinfo:
    """What a client says now; it leaves NetInfo out until it has measured again."""
    if told.net_info is not None or before.net_info is None:
        return told
    return msgspec.structs.replace(told, net_info=before.net_info)


def _check_grant(join: Join, grant: Grant, now: datetime) -> None:
    if grant.auth_key is None:
        return
    check_auth_key(grant.auth_key, now)
    if not set(join.hostinfo.request_tags) <= set(grant.tags):
        raise tags.refusal(join.hostinfo.request_tags)


def _same_owner(own: Sequence[Node], grant: Grant) -> Node | None:
    """The machine's node that belongs to the credential: it joined with this key, or has this owner."""
    by_key = [node for node in own if grant.auth_key_id and node.auth_key_id == grant.auth_key_id]
    by_owner = [node for node in own if node.user_id == grant.user_id]
    if grant.takes_tagged and not by_owner:
        by_owner = [node for node in own if node.is_tagged]
    return next(iter(by_owner or by_key), None)


def _converted(own: Sequence[Node], grant: Grant) -> Node | None:
    """A tagged credential takes over the machine's only node; which of several is nobody's guess."""
    if not grant.tags or not own:
        return None
    if len(own) > 1:
        raise Refused("this machine has several nodes here: log out of all but one", code="ambiguous_owner")
    return own[0]
