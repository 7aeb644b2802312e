"""DNSConfig (`tailcfg/tailcfg.go:DNSConfig`). It always replaces the one before as a whole."""

from msgspec import field

from headscale_saas.tailcfg.codec import Wire


class Resolver(Wire, frozen=True):
    """`addr` is an IP, `ip:port`, or an https URL. `use_with_exit_node` needs capability version 125."""

    addr: str = ""
    bootstrap_resolution: tuple[str, ...] = ()
    use_with_exit_node: bool = False


class DNSRecord(Wire, frozen=True):
    """`type` "" = A or AAAA, by the form of `value`."""

    name: str = ""
    type: str = ""
    value: str = ""


class DNSConfig(Wire, frozen=True):
    """`resolvers` non-empty overrides the device's own. `routes` maps a suffix to its resolvers; an empty
    tuple (never null) = answered by MagicDNS alone. `proxied` = MagicDNS is on.
    """

    resolvers: tuple[Resolver, ...] = ()
    routes: dict[str, tuple[Resolver, ...]] | None = None
    fallback_resolvers: tuple[Resolver, ...] = ()
    domains: tuple[str, ...] = ()
    proxied: bool = False
    cert_domains: tuple[str, ...] = ()
    extra_records: tuple[DNSRecord, ...] = ()
    exit_node_filtered_set: tuple[str, ...] = field(default=(), name="ExitNodeFilteredSet")
