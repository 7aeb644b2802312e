"""The nouns of a tailnet, as frozen values.

Ids that people see (users, nodes, keys) count from 1 within the tailnet. Times are aware and in UTC.
None means "not set" unless the field says otherwise.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NewType

import msgspec

from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.keys import DiscoKey, MachineKey, NodeKey, TailnetLockKey

TailnetId = NewType("TailnetId", int)
NodeId = NewType("NodeId", int)
UserId = NewType("UserId", int)
KeyId = NewType("KeyId", int)
ClusterId = NewType("ClusterId", int)
ProcessNumber = NewType("ProcessNumber", int)
Version = NewType("Version", int)

IPNetwork = IPv4Network | IPv6Network

DEFAULT_PREFIX_V4 = IPv4Network("100.64.0.0/10")
DEFAULT_PREFIX_V6 = IPv6Network("fd7a:115c:a1e0::/48")


class Allocation(StrEnum):
    """In which order free addresses are given."""

    SEQUENTIAL = "sequential"
    RANDOM = "random"


class Role(StrEnum):
    """What a user may do in the tailnet (the names of Tailscale's user roles)."""

    OWNER = "owner"
    ADMIN = "admin"
    NETWORK_ADMIN = "network-admin"
    IT_ADMIN = "it-admin"
    BILLING_ADMIN = "billing-admin"
    AUDITOR = "auditor"
    MEMBER = "member"


class RegisterMethod(StrEnum):
    AUTH_KEY = "authkey"
    CLI = "cli"
    OIDC = "oidc"


class ExtraRecord(msgspec.Struct, frozen=True):
    """One DNS record that MagicDNS answers besides node names. `type` is "A" or "AAAA"."""

    name: str
    type: str
    value: str


class DnsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`nameservers` are resolvers for everything (`override_local`), or the fallback if not."""

    magic_dns: bool = True
    override_local: bool = False
    nameservers: tuple[str, ...] = ()
    split: dict[str, tuple[str, ...]] = {}
    search_domains: tuple[str, ...] = ()
    extra_records: tuple[ExtraRecord, ...] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an admin can set for the whole tailnet; versioned with it.

    `base_domain` is the MagicDNS suffix without dots at its ends ("" = no names in DNS).
    `node_expiry` is the key lifetime of user-owned nodes that asked for none (None = never).
    A prefix of None means: no addresses of that family. `domains` are those of the members' e-mail addresses,
    as far as the tailnet vouches for them (empty: not known).
    """

    display_name: str = ""
    base_domain: str = ""
    prefix_v4: IPv4Network | None = DEFAULT_PREFIX_V4
    prefix_v6: IPv6Network | None = DEFAULT_PREFIX_V6
    allocation: Allocation = Allocation.SEQUENTIAL
    dns: DnsSettings = DnsSettings()
    node_expiry: timedelta | None = None
    ephemeral_timeout: timedelta = timedelta(minutes=2)
    taildrop: bool = True
    auto_update: bool = False
    randomize_client_port: bool = False
    client_logs: bool = False
    domains: tuple[str, ...] = ()


class Tailnet(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a tailnet. `version` counts its changes without gaps, from 0 (just made)."""

    id: TailnetId
    name: str
    cluster_id: ClusterId
    version: Version
    settings: Settings
    created_at: datetime


class User(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A member. `provider` is "" for users made by hand; groups come from an identity provider's claims."""

    id: UserId
    name: str
    created_at: datetime
    display_name: str = ""
    email: str = ""
    provider: str = ""
    provider_id: str = ""
    role: Role = Role.MEMBER
    groups: tuple[str, ...] = ()
    picture_url: str = ""

    @property
    def login_name(self) -> str:
        """What clients and policies call this user: the e-mail if there is one; never empty."""
        return self.email or self.name or self.provider_id or str(self.id)


class Node(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A device in the tailnet. It is owned by a user, or it has tags (and `user_id` is None), never both.

    `hostname` is what the device calls itself; `name` is its DNS label, unique in the tailnet, and
    follows the hostname until an admin sets it (`name_is_fixed`). `home_derp` 0 means unknown.
    `expired` is what upkeep has established, so that a view needs no clock.
    `last_seen` is kept from the moment the node went offline (None: it never did).
    """

    id: NodeId
    stable_id: str
    machine_key: MachineKey
    node_key: NodeKey
    disco_key: DiscoKey
    tailnet_lock_key: TailnetLockKey
    user_id: UserId | None
    tags: tuple[str, ...] = ()
    hostname: str
    name: str
    name_is_fixed: bool = False
    ipv4: IPv4Address | None
    ipv6: IPv6Address | None
    created_at: datetime
    expires_at: datetime | None = None
    expired: bool = False
    authorized: bool = True
    ephemeral: bool = False
    auth_key_id: KeyId | None = None
    register_method: RegisterMethod = RegisterMethod.AUTH_KEY
    capver: int = 0
    hostinfo: Hostinfo
    endpoints: tuple[str, ...] = ()
    home_derp: int = 0
    approved_routes: tuple[str, ...] = ()
    online: bool = False
    last_seen: datetime | None = None

    @property
    def is_tagged(self) -> bool:
        return self.user_id is None


class AuthKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that nodes join with. `prefix` is public; of the secret only a hash is kept.

    `user_id` is None for a key that makes tagged nodes and belongs to nobody.
    """

    id: KeyId
    prefix: str
    secret_hash: bytes
    user_id: UserId | None
    tags: tuple[str, ...] = ()
    reusable: bool = False
    ephemeral: bool = False
    created_at: datetime
    expires_at: datetime | None = None
    used_at: datetime | None = None
    revoked_at: datetime | None = None


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key for the admin API of one tailnet."""

    id: KeyId
    prefix: str
    secret_hash: bytes
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. `kind` is one of cli, file, node, user, api_key, system; `name` identifies within the kind.

    `origin` says from where (an address, "unix socket", a process); both go to the audit log.
    """

    kind: str
    name: str
    origin: str = ""


SYSTEM = Actor(kind="system", name="upkeep")
