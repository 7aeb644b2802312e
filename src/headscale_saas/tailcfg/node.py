"""The wire Node and UserProfile (`tailcfg/tailcfg.go:Node`, `:UserProfile`)."""

from msgspec import UNSET, UnsetType, field

from headscale_saas.tailcfg.codec import Int32, Int64, Json, Time, Wire, settle_times
from headscale_saas.tailcfg.dns import Resolver
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.keys import DiscoKey, MachineKey, NodeKey

CapMap = dict[str, tuple[Json, ...] | None]
"""Capability -> its arguments; None or () = held without arguments."""


class Node(Wire, frozen=True):
    """A node as its peers, or itself, are told. It always replaces the one before as a whole.

    Absent: `key_expiry` = never; `disco_key` = the peer is ignored; `allowed_ips` = `addresses`, while an
    empty one means nothing; `endpoints` = none (but a client that knows some keeps them: send the empty
    list); `home_derp` 0 = none; `online` = unknown; `last_seen` = unknown; `machine_authorized` = false;
    `cap_map` = no capabilities.
    """

    id: Int64 = field(default=0, name="ID")
    stable_id: str = field(default="", name="StableID")
    name: str = ""
    user: Int64 = 0
    sharer: Int64 = 0
    key: NodeKey | None = None
    key_expiry: Time | None = None
    key_signature: bytes | None = None
    machine: MachineKey | None = None
    disco_key: DiscoKey | None = None
    addresses: tuple[str, ...] = ()
    allowed_ips: tuple[str, ...] | UnsetType = field(default=UNSET, name="AllowedIPs")
    endpoints: tuple[str, ...] | UnsetType = UNSET
    derp: str = field(default="", name="DERP")
    home_derp: Int32 = field(default=0, name="HomeDERP")
    hostinfo: Hostinfo | None = None
    created: Time | None = None
    cap: Int32 = 0
    tags: tuple[str, ...] = ()
    primary_routes: tuple[str, ...] = ()
    last_seen: Time | None = None
    online: bool | None = None
    machine_authorized: bool = False
    capabilities: tuple[str, ...] = ()
    cap_map: CapMap | None = None
    unsigned_peer_api_only: bool = field(default=False, name="UnsignedPeerAPIOnly")
    data_plane_audit_log_id: str = field(default="", name="DataPlaneAuditLogID")
    expired: bool = False
    self_node_v4_masq_addr_for_this_peer: str | None = field(
        default=None, name="SelfNodeV4MasqAddrForThisPeer"
    )
    self_node_v6_masq_addr_for_this_peer: str | None = field(
        default=None, name="SelfNodeV6MasqAddrForThisPeer"
    )
    is_wireguard_only: bool = field(default=False, name="IsWireGuardOnly")
    is_jailed: bool = False
    exit_node_dns_resolvers: tuple[Resolver, ...] = field(default=(), name="ExitNodeDNSResolvers")

    def __post_init__(self) -> None:
        settle_times(self, "key_expiry", "created", "last_seen")


class UserProfile(Wire, frozen=True):
    """Who stands behind `Node.user`. Clients only ever add profiles. `groups` () = not told."""

    id: Int64 = field(default=0, name="ID")
    login_name: str = ""
    display_name: str = ""
    profile_pic_url: str = field(default="", name="ProfilePicURL")
    groups: tuple[str, ...] = ()
