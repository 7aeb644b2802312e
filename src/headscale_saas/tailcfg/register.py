"""POST /machine/register (`tailcfg/tailcfg.go:RegisterRequest`, `:RegisterResponse`)."""

from msgspec import field

from headscale_saas.tailcfg.codec import Int32, Int64, Time, Wire, settle_times
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.keys import NodeKey, TailnetLockKey


class RegisterAuth(Wire, frozen=True):
    """`auth_key` "" = none."""

    auth_key: str = ""


class RegisterRequest(Wire, frozen=True):
    """A wish to join, to renew a key, or to log out.

    `old_node_key` zero = no key before (it stays set after a rotation, so it does not mean one is going on).
    `expiry` None = no wish; in the past = log out. `followup` "" = not a waiting request.
    `auth` None = no auth key. `tailnet` "" = no hint.
    """

    version: Int32 = 0
    node_key: NodeKey = NodeKey.zero()
    old_node_key: NodeKey = NodeKey.zero()
    nl_key: TailnetLockKey = field(default=TailnetLockKey.zero(), name="NLKey")
    auth: RegisterAuth | None = None
    expiry: Time | None = None
    followup: str = ""
    hostinfo: Hostinfo | None = None
    ephemeral: bool = False
    node_key_signature: bytes | None = None
    signature_type: str | int | None = None
    timestamp: Time | None = None
    device_cert: bytes | None = None
    signature: bytes | None = None
    tailnet: str = ""

    def __post_init__(self) -> None:
        settle_times(self, "expiry", "timestamp")


class User(Wire, frozen=True):
    """The user a node was registered for. `created` None = not told."""

    id: Int64 = field(default=0, name="ID")
    display_name: str = ""
    profile_pic_url: str = field(default="", name="ProfilePicURL")
    created: Time | None = None

    def __post_init__(self) -> None:
        settle_times(self, "created")


class Login(Wire, frozen=True):
    """The identity of that user. Without `login_name` the client never stores its profile."""

    id: Int64 = field(default=0, name="ID")
    provider: str = ""
    login_name: str = ""
    display_name: str = ""
    profile_pic_url: str = field(default="", name="ProfilePicURL")


class RegisterResponse(Wire, frozen=True, omit_defaults=False):
    """All members are always written.

    In the order of the client: `error` is shown to the person; `node_key_expired` = come back with a new
    key; `auth_url` = pending, open it; otherwise the node key is registered.
    """

    user: User = User()
    login: Login = Login()
    node_key_expired: bool = False
    machine_authorized: bool = False
    auth_url: str = field(default="", name="AuthURL")
    node_key_signature: bytes | None = None
    error: str = ""
