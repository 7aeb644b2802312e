"""The other messages between a node and control: /key, the early payload, pings and the small endpoints."""

from msgspec import field

from headscale_saas.tailcfg.codec import Int32, Json, Port, Time, Wire, settle_times
from headscale_saas.tailcfg.keys import ChallengeKey, MachineKey, NodeKey


class OverTLSPublicKeyResponse(Wire, frozen=True, rename="camel", omit_defaults=False):
    """GET /key. `legacy_public_key` is the zero key; never write "" for a key."""

    legacy_public_key: MachineKey = MachineKey.zero()
    public_key: MachineKey = MachineKey.zero()


class EarlyNoise(Wire, frozen=True, rename="camel", omit_defaults=False):
    """The early payload, before the first HTTP/2 byte."""

    node_key_challenge: ChallengeKey


class PingRequest(Wire, frozen=True):
    """A question in a map message. `types` "" = HEAD the URL; `url` must never repeat."""

    url: str = field(default="", name="URL")
    url_is_noise: bool = field(default=False, name="URLIsNoise")
    log: bool = False
    types: str = ""
    ip: str = field(default="", name="IP")
    payload: bytes | None = None


class PingResponse(Wire, frozen=True):
    """What a node found by a ping. `err` "" = it worked."""

    type: str = ""
    ip: str = field(default="", name="IP")
    node_ip: str = field(default="", name="NodeIP")
    node_name: str = ""
    err: str = ""
    latency_seconds: float | None = None
    endpoint: str = ""
    peer_relay: str = ""
    derp_region_id: Int32 = field(default=0, name="DERPRegionID")
    derp_region_code: str = field(default="", name="DERPRegionCode")
    peer_api_port: Port = field(default=0, name="PeerAPIPort")
    is_local_ip: bool = field(default=False, name="IsLocalIP")


class SetDNSRequest(Wire, frozen=True):
    """A node wants a TXT record for a certificate. Answer `{}` once the record is live."""

    version: Int32 = 0
    node_key: NodeKey = NodeKey.zero()
    name: str = ""
    type: str = ""
    value: str = ""


class HealthChangeRequest(Wire, frozen=True):
    """A health warning of an old client. `error` "" = healthy again; `node_key` may be zero."""

    subsys: str = ""
    error: str = ""
    node_key: NodeKey = NodeKey.zero()


class TokenRequest(Wire, frozen=True):
    """A node wants an OpenID Connect token about itself for `audience`."""

    cap_version: Int32 = 0
    node_key: NodeKey = NodeKey.zero()
    audience: str = ""


class TokenResponse(Wire, frozen=True, omit_defaults=False):
    id_token: str = field(name="id_token")


class QueryFeatureRequest(Wire, frozen=True):
    """`feature` is serve or funnel."""

    feature: str = ""
    node_key: NodeKey = NodeKey.zero()


class QueryFeatureResponse(Wire, frozen=True):
    """`complete` = already usable; else `text` and `url` tell the person what to do."""

    complete: bool = False
    text: str = ""
    url: str = field(default="", name="URL")
    should_wait: bool = False


class AuditLogRequest(Wire, frozen=True):
    """An action of the device's user worth recording. `timestamp` None = now."""

    version: Int32 = 0
    node_key: NodeKey = NodeKey.zero()
    action: str = ""
    details: str = ""
    timestamp: Time | None = None

    def __post_init__(self) -> None:
        settle_times(self, "timestamp")


class SetDeviceAttributesRequest(Wire, frozen=True):
    """Posture attributes: text, number or bool; None deletes."""

    version: Int32 = 0
    node_key: NodeKey = NodeKey.zero()
    update: dict[str, Json] | None = None


class WebClientAuthResponse(Wire, frozen=True):
    id: str = field(default="", name="ID")
    url: str = field(default="", name="URL")
    complete: bool = False


class DERPAdmitClientRequest(Wire, frozen=True):
    """POST /verify: may this node use the relay that asks? `source` "" = address not told."""

    node_public: NodeKey = NodeKey.zero()
    source: str = ""


class DERPAdmitClientResponse(Wire, frozen=True, omit_defaults=False):
    allow: bool = False
