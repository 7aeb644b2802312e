"""What the server answers, in the shapes of headscale's API (proto/headscale/v1).

Field order and names are those of the messages; a default is the zero value, which JSON leaves out. The
doors that carry them (the database itself, later gRPC) fill the same values, so output knows only these.
"""

from datetime import UTC, datetime
from enum import IntEnum

import msgspec


class Timestamp(msgspec.Struct, frozen=True, omit_defaults=True):
    """`google.protobuf.Timestamp`, as Go's encoding/json prints it."""

    seconds: int = 0
    nanos: int = 0

    @classmethod
    def of(cls, time: datetime | None) -> "Timestamp | None":
        if time is None:
            return None
        since = time - datetime(1970, 1, 1, tzinfo=UTC)
        return cls(since.days * 86400 + since.seconds, since.microseconds * 1000)

    def as_datetime(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC).replace(microsecond=self.nanos // 1000)


class RegisterMethod(IntEnum):
    UNSPECIFIED = 0
    AUTH_KEY = 1
    CLI = 2
    OIDC = 3


class User(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: int = 0
    name: str = ""
    created_at: Timestamp | None = None
    display_name: str = ""
    email: str = ""
    provider_id: str = ""
    provider: str = ""
    profile_pic_url: str = ""


TAGGED_DEVICES = User(id=2147455555, name="tagged-devices", display_name="Tagged Devices")
"""Stands for the owner of nodes that belong to tags."""


class PreAuthKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`key` is masked, except in the answer to its creation."""

    user: User | None = None
    id: int = 0
    key: str = ""
    reusable: bool = False
    ephemeral: bool = False
    used: bool = False
    expiration: Timestamp | None = None
    created_at: Timestamp | None = None
    acl_tags: list[str] = []


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`name` is what the device calls itself, `given_name` its DNS label; no `expiry` means never."""

    id: int = 0
    machine_key: str = ""
    node_key: str = ""
    disco_key: str = ""
    ip_addresses: list[str] = []
    name: str = ""
    user: User | None = None
    last_seen: Timestamp | None = None
    expiry: Timestamp | None = None
    pre_auth_key: PreAuthKey | None = None
    created_at: Timestamp | None = None
    register_method: RegisterMethod = RegisterMethod.UNSPECIFIED
    given_name: str = ""
    online: bool = False
    approved_routes: list[str] = []
    available_routes: list[str] = []
    subnet_routes: list[str] = []
    tags: list[str] = []


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: int = 0
    prefix: str = ""
    expiration: Timestamp | None = None
    created_at: Timestamp | None = None
    last_seen: Timestamp | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`policy` and `updated_at` are headscale's, the rest is ours. The text is left out in lists.

    `version` 0: there never was a policy. `unchanged`: what was to be set was in force already.
    `warnings` are as in PolicyChecked.
    """

    policy: str = ""
    updated_at: Timestamp | None = None
    version: int = 0
    etag: str = ""
    size: int = 0
    author: str = ""
    comment: str = ""
    rolled_back_from: int = 0
    unchanged: bool = False
    warnings: list[str] = []


class PolicyChecked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ours. What is odd about a policy that is right; at most the first ten are told."""

    warnings: list[str] = []


class PolicyTested(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ours. A failure is one line; at most the first hundred are told."""

    tests: int = 0
    failures: list[str] = []


class PolicyReason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ours. A rule, and where it stands; without rules in the file there is no place."""

    text: str = ""
    line: int = 0
    column: int = 0


class PolicyVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ours. Whether one end may connect to another. If not: what is `missing`, and why in words."""

    source: str = ""
    destination: str = ""
    allowed: bool = False
    missing: str = ""
    detail: str = ""
    reasons: list[PolicyReason] = []


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    database_connectivity: bool = False


class Tailnet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ours. The settings are filled when one tailnet is shown, not in lists."""

    id: int = 0
    name: str = ""
    cluster_id: int = 0
    version: int = 0
    created_at: Timestamp | None = None
    display_name: str = ""
    base_domain: str = ""
    prefixes: list[str] = []
    domains: list[str] = []


class NoiseKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ours. The public half; `state` is serving, accepted or retired."""

    key: str = ""
    state: str = ""
    created_at: Timestamp | None = None


class Cluster(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Ours. `capacity` is a number of tailnets."""

    cluster_id: int = 0
    name: str = ""
    url: str = ""
    region: str = ""
    capacity: int = 0
    state: str = ""
    created_at: Timestamp | None = None
