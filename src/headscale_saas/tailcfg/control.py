"""The other messages between a node and control: /key, the early payload, pings and the small endpoints."""

from msgspec import field

from headscale_saas.tailcfg.codec import Wire
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


class HealthChangeRequest(Wire, frozen=True):
    """A health warning of an old client. `error` "" = healthy again; `node_key` may be zero."""

    subsys: str = ""
    error: str = ""
    node_key: NodeKey = NodeKey.zero()


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
