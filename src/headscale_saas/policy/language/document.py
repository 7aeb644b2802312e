"""What a policy file says, section by section, as frozen values.

Everything that can be refused without knowing the tailnet's nodes was refused before a Document exists:
every selector stands where it may, and what it names is defined. Order is the file's.
"""

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import TypeVar

import msgspec

from headscale_saas.policy.language.positions import Position
from headscale_saas.policy.language.selectors import Selector
from headscale_saas.tailcfg.codec import Json
from headscale_saas.tailcfg.derpmap import DERPRegion
from headscale_saas.tailcfg.filters import PortRange
from headscale_saas.tailnet.model import IPNetwork

V = TypeVar("V")


class AclTarget(msgspec.Struct, frozen=True, gc=False):
    """`host:ports` of an ACL rule."""

    host: Selector
    ports: tuple[PortRange, ...]


class Acl(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`protocol` None = the default set (TCP, UDP, ICMP both). `postures` None = the default ones, if any."""

    position: Position
    sources: tuple[Selector, ...]
    targets: tuple[AclTarget, ...]
    protocol: int | None = None
    postures: tuple[str, ...] | None = None


class IpEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry of a grant's `ip`. `protocol` None = the default set."""

    protocol: int | None
    ports: tuple[PortRange, ...]


class Grant(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`app` keeps the values as the file has them: a number that would be written in another way, or that no
    int and no float can hold, is a msgspec.Raw of its digits. `via` are tags."""

    position: Position
    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    ip: tuple[IpEntry, ...] = ()
    app: Mapping[str, tuple[Json, ...]] = MappingProxyType({})
    via: tuple[str, ...] = ()
    postures: tuple[str, ...] | None = None


class SshRule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`check_period` (for check rules) says how long a check holds; zero = `always`.

    `recorders` are tags of nodes that record sessions; with `enforce_recorder` no session goes unrecorded.
    """

    position: Position
    is_check: bool
    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    users: tuple[str, ...]
    check_period: timedelta = timedelta(hours=12)
    accept_env: tuple[str, ...] = ()
    postures: tuple[str, ...] | None = None
    recorders: tuple[Selector, ...] = ()
    enforce_recorder: bool = False


class NodeAttr(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`ip_pools` are where new nodes of the targets get their IPv4 address from."""

    position: Position
    targets: tuple[Selector, ...]
    attributes: tuple[str, ...] = ()
    app: Mapping[str, tuple[Json, ...]] = MappingProxyType({})
    ip_pools: tuple[IPv4Network, ...] = ()


class RouteApprover(msgspec.Struct, frozen=True, gc=False):
    prefix: IPNetwork
    approvers: tuple[Selector, ...]


class IpsetStep(msgspec.Struct, frozen=True, gc=False):
    """`add` or `remove` of: a selector (prefix, host, ipset, autogroup:internet), or an inclusive range."""

    adds: bool
    what: Selector | tuple[str, str]


class Assertion(msgspec.Struct, frozen=True, gc=False):
    """One condition of a posture. `operator` is one of == != < <= > >= IN, NOT IN, IS SET, NOT SET."""

    attribute: str
    operator: str
    values: tuple[str | bool | float, ...] = ()


class AttributeConfig(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a custom posture attribute is: `type` "string", "number", "bool" or "" (any)."""

    type: str = ""
    allow_set_by_node: bool = False
    broadcast_to_peers: bool = False


class PolicyTest(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """As written: whatever is wrong with a test is a failed test, not a message of its own."""

    position: Position
    source: str = ""
    accept: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    protocol: str = ""
    posture_attributes: Mapping[str, Json] = MappingProxyType({})


class SshTest(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """As written, like PolicyTest; the lists are login names."""

    position: Position
    source: str = ""
    destinations: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    posture_attributes: Mapping[str, Json] = MappingProxyType({})


class PolicyRelays(msgspec.Struct, frozen=True, gc=False):
    """`derpMap`. A region of None removes the default one of that number."""

    regions: Mapping[int, DERPRegion | None]
    omit_default_regions: bool = False


def _none() -> Mapping[str, V]:
    return MappingProxyType({})


class Document(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`acls` and `grants` are both None if the file has neither: then everything is allowed.

    `groups` by `group:name`, members as user or domain selectors; `hosts` by plain name; `ipsets` by
    `ipset:name`; `tag_owners` by `tag:name`; `postures` by `posture:name`, all assertions of one must hold;
    `attributes` by `custom:name`.
    """

    acls: tuple[Acl, ...] | None = None
    grants: tuple[Grant, ...] | None = None
    ssh: tuple[SshRule, ...] = ()
    groups: Mapping[str, tuple[Selector, ...]] = msgspec.field(default_factory=_none)
    hosts: Mapping[str, IPNetwork] = msgspec.field(default_factory=_none)
    ipsets: Mapping[str, tuple[IpsetStep, ...]] = msgspec.field(default_factory=_none)
    tag_owners: Mapping[str, tuple[Selector, ...]] = msgspec.field(default_factory=_none)
    route_approvers: tuple[RouteApprover, ...] = ()
    exit_node_approvers: tuple[Selector, ...] = ()
    service_approvers: Mapping[str, tuple[Selector, ...]] = msgspec.field(default_factory=_none)
    node_attrs: tuple[NodeAttr, ...] = ()
    postures: Mapping[str, tuple[Assertion, ...]] = msgspec.field(default_factory=_none)
    default_postures: tuple[str, ...] = ()
    attributes: Mapping[str, AttributeConfig] = msgspec.field(default_factory=_none)
    tests: tuple[PolicyTest, ...] = ()
    ssh_tests: tuple[SshTest, ...] = ()
    relays: PolicyRelays | None = None
    disable_ipv4: bool = False
    one_cgnat_route: str = ""
    randomize_client_port: bool = False
