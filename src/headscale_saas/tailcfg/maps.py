"""POST /machine/map: request, message and deltas (`tailcfg/tailcfg.go:MapRequest`, `:MapResponse`)."""

from msgspec import field

from headscale_saas.tailcfg.codec import Int32, Int64, Time, Wire, settle_times
from headscale_saas.tailcfg.control import PingRequest
from headscale_saas.tailcfg.derpmap import DERPMap
from headscale_saas.tailcfg.dns import DNSConfig
from headscale_saas.tailcfg.filters import FilterRule
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.keys import DiscoKey, NodeKey
from headscale_saas.tailcfg.node import CapMap, Node, UserProfile
from headscale_saas.tailcfg.ssh import SSHPolicy

ZSTD = "zstd"


class MapRequest(Wire, frozen=True):
    """A poll or an update. `compress` is "zstd" or "". `hostinfo` None = nothing said.

    `stream` = the long poll, which changes nothing; not `stream`, `omit_peers` and not `read_only` = a
    lite update, answered with an empty body. An absent endpoint type is 0, unknown.
    """

    version: Int32 = 0
    compress: str = ""
    keep_alive: bool = False
    node_key: NodeKey = NodeKey.zero()
    disco_key: DiscoKey = DiscoKey.zero()
    stream: bool = False
    hostinfo: Hostinfo | None = None
    map_session_handle: str = ""
    map_session_seq: Int64 = 0
    endpoints: tuple[str, ...] = ()
    endpoint_types: tuple[Int32, ...] = ()
    tka_head: str = field(default="", name="TKAHead")
    read_only: bool = False
    omit_peers: bool = False
    debug_flags: tuple[str, ...] = ()


class PeerChange(Wire, frozen=True):
    """Changed parts of one known peer; absent = unchanged. `derp_region` and `cap` cannot be set to 0.

    `key_expiry` ZERO_TIME = never expires. `cap_map` {} and `endpoints` () clear.
    """

    node_id: Int64 = field(default=0, name="NodeID")
    derp_region: Int32 = field(default=0, name="DERPRegion")
    cap: Int32 = 0
    cap_map: CapMap | None = None
    endpoints: tuple[str, ...] | None = None
    key: NodeKey | None = None
    key_signature: bytes | None = None
    disco_key: DiscoKey | None = None
    online: bool | None = None
    last_seen: Time | None = None
    key_expiry: Time | None = None


class DisplayMessageAction(Wire, frozen=True):
    url: str = field(default="", name="URL")
    label: str = ""


class DisplayMessage(Wire, frozen=True):
    """A health warning from us (capability version 117). `severity` is high, medium or low."""

    title: str = ""
    text: str = ""
    severity: str = ""
    impacts_connectivity: bool = False
    primary_action: DisplayMessageAction | None = None


class ClientVersion(Wire, frozen=True):
    """`latest_version` is left out when `running_latest`. Empty = nothing known."""

    running_latest: bool = False
    latest_version: str = ""
    urgent_security_update: bool = False
    notify: bool = False
    notify_url: str = field(default="", name="NotifyURL")
    notify_text: str = ""


class ControlIPCandidate(Wire, frozen=True):
    """`dial_timeout_sec` 0 would always fail."""

    ip: str = field(default="", name="IP")
    ace_host: str = field(default="", name="ACEHost")
    dial_start_delay_sec: float = 0
    dial_timeout_sec: float = 0
    priority: Int32 = 0


class ControlDialPlan(Wire, frozen=True, omit_defaults=False):
    """Where else this control server answers; no candidates = DNS."""

    candidates: tuple[ControlIPCandidate, ...] = ()


class Debug(Wire, frozen=True):
    """One-shot orders. `disable_log_tail` holds until the client's process ends."""

    sleep_seconds: float | None = None
    disable_log_tail: bool = False
    exit: Int32 | None = None


class TKAInfo(Wire, frozen=True):
    """`head` = tailnet lock is on; `disabled` = it was turned off."""

    head: str = ""
    disabled: bool = False


class MapResponse(Wire, frozen=True):
    """One message of the long poll. An absent member means "unchanged" (control-protocol 5.4).

    Present and empty: `peers` () has no effect; `packet_filters` maps a name to its rules, None deletes it;
    `health` () clears; `user_profiles` are only ever added.
    """

    map_session_handle: str = ""
    seq: Int64 = 0
    keep_alive: bool = False
    ping_request: PingRequest | None = None
    pop_browser_url: str = field(default="", name="PopBrowserURL")
    node: Node | None = None
    derp_map: DERPMap | None = field(default=None, name="DERPMap")
    peers: tuple[Node, ...] | None = None
    peers_changed: tuple[Node, ...] | None = None
    peers_removed: tuple[Int64, ...] | None = None
    peers_changed_patch: tuple[PeerChange, ...] | None = None
    peer_seen_change: dict[Int64, bool] | None = None
    online_change: dict[Int64, bool] | None = None
    dns_config: DNSConfig | None = field(default=None, name="DNSConfig")
    domain: str = ""
    collect_services: bool | None = None
    packet_filter: tuple[FilterRule, ...] | None = None
    packet_filters: dict[str, tuple[FilterRule, ...] | None] | None = None
    user_profiles: tuple[UserProfile, ...] | None = None
    health: tuple[str, ...] | None = None
    display_messages: dict[str, DisplayMessage | None] | None = None
    ssh_policy: SSHPolicy | None = field(default=None, name="SSHPolicy")
    control_time: Time | None = None
    tka_info: TKAInfo | None = field(default=None, name="TKAInfo")
    domain_data_plane_audit_log_id: str = field(default="", name="DomainDataPlaneAuditLogID")
    debug: Debug | None = None
    control_dial_plan: ControlDialPlan | None = None
    client_version: ClientVersion | None = None
    default_auto_update: bool | None = None

    def __post_init__(self) -> None:
        settle_times(self, "control_time")
