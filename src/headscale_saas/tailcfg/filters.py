"""Packet filter rules (`tailcfg/tailcfg.go:FilterRule`): what may come in at the node that holds them."""

from msgspec import field

from headscale_saas.tailcfg.codec import Int32, Json, Port, Wire

LAST_PORT = 65535


class PortRange(Wire, frozen=True, omit_defaults=False):
    """Both ends belong to it; 0 to 65535 means all, also for protocols without ports."""

    first: Port = 0
    last: Port = LAST_PORT


class NetPortRange(Wire, frozen=True, omit_defaults=False):
    """`ip` is an address, a prefix without host bits, a range `a-b`, or `*`."""

    ip: str = field(default="*", name="IP")
    ports: PortRange = PortRange()


class CapGrant(Wire, frozen=True):
    """Capabilities granted to the rule's sources. `dsts` must cover both address families."""

    dsts: tuple[str, ...] = ()
    caps: tuple[str, ...] = ()
    cap_map: dict[str, tuple[Json, ...] | None] | None = None


class FilterRule(Wire, frozen=True):
    """One rule; `dst_ports` and `cap_grant` exclude each other. `ip_proto` () = TCP, UDP and ICMP."""

    src_ips: tuple[str, ...] = field(default=(), name="SrcIPs")
    dst_ports: tuple[NetPortRange, ...] = ()
    ip_proto: tuple[Int32, ...] = field(default=(), name="IPProto")
    cap_grant: tuple[CapGrant, ...] = ()
