"""What a client says of itself: Hostinfo and its parts (`tailcfg/tailcfg.go:Hostinfo`).

All members are optional on the wire. Absent strings are "", absent lists are empty, absent `opt.Bool`s are
None ("unknown"). `bounded` and `usable_endpoints` cut what is kept to sane sizes.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import islice
from typing import TypeVar

from msgspec import field
from msgspec.structs import replace

from headscale_saas.tailcfg.codec import Int32, Int64, Json, Port, Wire

W = TypeVar("W", bound=Wire)

MAX_STRING = 256
MAX_HOSTNAME = 255
MAX_ROUTES = 512
MAX_SERVICES = 256
MAX_TAGS = 32
MAX_LATENCIES = 512
MAX_ENDPOINTS = 64
MAX_ENDPOINTS_READ = 512
"""Reading one costs microseconds, and a body has room for hundreds of thousands."""
MAX_REGION = 65535
"""Clients put the number of a relay's region where a UDP port stands."""
MAX_ITEMS = 64
"""For the lists that have no limit of their own (wake-on-LAN addresses)."""
MAX_HOST_KEYS = 16
MAX_HOST_KEY = 2048
MAX_NAME = 64
"""For texts of which a node has hundreds: every process and, of services, every peer holds them all."""


class Service(Wire, frozen=True):
    """A port the node serves. `proto` is tcp, udp, peerapi4, peerapi6 or peerapi-dns-proxy."""

    proto: str = ""
    port: Port = 0
    description: str = ""


class NetInfo(Wire, frozen=True):
    """What the client found out about its network. `preferred_derp` 0 = unknown: keep the one before."""

    mapping_varies_by_dest_ip: bool | None = field(default=None, name="MappingVariesByDestIP")
    working_ipv6: bool | None = field(default=None, name="WorkingIPv6")
    os_has_ipv6: bool | None = field(default=None, name="OSHasIPv6")
    working_udp: bool | None = field(default=None, name="WorkingUDP")
    working_icmpv4: bool | None = field(default=None, name="WorkingICMPv4")
    upnp: bool | None = field(default=None, name="UPnP")
    pmp: bool | None = field(default=None, name="PMP")
    pcp: bool | None = field(default=None, name="PCP")
    have_port_map: bool = False
    preferred_derp: Int32 = field(default=0, name="PreferredDERP")
    link_type: str = ""
    derp_latency: dict[str, float] | None = field(default=None, name="DERPLatency")
    firewall_mode: str = ""


class Location(Wire, frozen=True):
    """Where a node is, for exit-node suggestions."""

    country: str = ""
    country_code: str = ""
    city: str = ""
    city_code: str = ""
    latitude: float | None = None
    longitude: float | None = None
    priority: Int32 = 0


class Tpm(Wire, frozen=True):
    """The security chip; only shown to admins."""

    manufacturer: str = ""
    vendor: str = ""
    model: Int64 = 0
    firmware_version: int = 0
    spec_revision: Int64 = 0
    family_indicator: str = ""


class Hostinfo(Wire, frozen=True):
    """`net_info` None = not known yet: keep the one stored. `ssh_host_keys` present = Tailscale SSH is on."""

    ipn_version: str = field(default="", name="IPNVersion")
    frontend_log_id: str = field(default="", name="FrontendLogID")
    backend_log_id: str = field(default="", name="BackendLogID")
    os: str = field(default="", name="OS")
    os_version: str = field(default="", name="OSVersion")
    container: bool | None = None
    env: str = ""
    distro: str = ""
    distro_version: str = ""
    distro_code_name: str = ""
    app: str = ""
    desktop: bool | None = None
    package: str = ""
    device_model: str = ""
    push_device_token: str = ""
    hostname: str = ""
    shields_up: bool = False
    sharee_node: bool = False
    no_logs_no_support: bool = False
    wire_ingress: bool = False
    ingress_enabled: bool = False
    allows_update: bool = False
    remote_config: bool = False
    machine: str = ""
    go_arch: str = ""
    go_arch_var: str = ""
    go_version: str = ""
    routable_ips: tuple[str, ...] = field(default=(), name="RoutableIPs")
    request_tags: tuple[str, ...] = ()
    wol_macs: tuple[str, ...] = field(default=(), name="WoLMACs")
    services: tuple[Service, ...] = ()
    net_info: NetInfo | None = None
    ssh_host_keys: tuple[str, ...] = field(default=(), name="sshHostKeys")
    cloud: str = ""
    userspace: bool | None = None
    userspace_router: bool | None = None
    app_connector: bool | None = None
    peer_relay: bool = False
    services_hash: str = ""
    exit_node_id: str = field(default="", name="ExitNodeID")
    location: Location | None = None
    tpm: Tpm | None = field(default=None, name="TPM")
    state_encrypted: bool | None = None


def bounded(hostinfo: Hostinfo) -> Hostinfo:
    """The part of it that is kept: long strings cut, long lists shortened, routes that are none dropped."""
    info = hostinfo.net_info
    return replace(
        _cut_strings(hostinfo),
        hostname=_cut(hostinfo.hostname, MAX_HOSTNAME),
        routable_ips=_networks(hostinfo.routable_ips[:MAX_ROUTES]),
        request_tags=_cut_all(hostinfo.request_tags[:MAX_TAGS], MAX_STRING),
        wol_macs=_cut_all(hostinfo.wol_macs[:MAX_ITEMS], MAX_STRING),
        ssh_host_keys=tuple(
            key for key in hostinfo.ssh_host_keys[:MAX_HOST_KEYS] if len(key) <= MAX_HOST_KEY
        ),
        services=tuple(_cut_strings(service, MAX_NAME) for service in hostinfo.services[:MAX_SERVICES]),
        net_info=None if info is None else _bounded_net_info(info),
        location=None if hostinfo.location is None else _cut_strings(hostinfo.location),
        tpm=None if hostinfo.tpm is None else _cut_strings(hostinfo.tpm),
    )


def usable_endpoints(endpoints: Iterable[str]) -> tuple[str, ...]:
    """Of the first 512 `ip:port` texts those that a peer could reach, canonical, at most 64, none twice."""
    kept: dict[str, None] = {}
    for text in islice(endpoints, MAX_ENDPOINTS_READ):
        endpoint = _usable_endpoint(text)
        if endpoint is not None:
            kept[endpoint] = None
        if len(kept) == MAX_ENDPOINTS:
            break
    return tuple(kept)


def _bounded_net_info(info: NetInfo) -> NetInfo:
    latency = info.derp_latency
    if latency is not None:
        latency = {_cut(name, MAX_NAME): latency[name] for name in sorted(latency)[:MAX_LATENCIES]}
    home = info.preferred_derp if 0 < info.preferred_derp <= MAX_REGION else 0
    return replace(_cut_strings(info), derp_latency=latency, preferred_derp=home)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit]


def _cut_all(texts: tuple[str, ...], limit: int) -> tuple[str, ...]:
    return tuple(_cut(text, limit) for text in texts)


def _cut_strings(value: W, most: int = MAX_STRING) -> W:
    long: dict[str, Json] = {}
    for name in value.__struct_fields__:
        member = getattr(value, name)
        if isinstance(member, str) and len(member) > most:
            long[name] = member[:most]
    return replace(value, **long) if long else value


def _networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Without zones: Go reads no prefix that has one, so whoever were told it could read nothing at all."""
    kept: dict[str, None] = {}
    for text in texts:
        try:
            if "/" in text and "%" not in text:
                kept[str(ip_network(text))] = None
        except ValueError:
            continue
    return tuple(kept)


def _usable_endpoint(text: str) -> str | None:
    host, _, port = text.rpartition(":")
    is_v6 = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if is_v6 else host)
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    except ValueError:
        return None
    if not 0 < number <= 65535 or (address.version == 6) != is_v6 or not _is_reachable(address):
        return None
    return f"[{address}]:{number}" if is_v6 else f"{address}:{number}"


def _is_reachable(address: IPv4Address | IPv6Address) -> bool:
    is_odd = isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped)
    return not (
        is_odd
        or address.is_loopback
        or address.is_unspecified
        or address.is_multicast
        or address.is_link_local
    )
