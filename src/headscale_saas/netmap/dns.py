"""DNSConfig from the tailnet's settings (`ipn/ipnlocal/node_backend.go:dnsConfigForNetmap` reads it)."""

from ipaddress import IPv4Network, IPv6Network

from headscale_saas.tailcfg.dns import DNSConfig, DNSRecord, Resolver
from headscale_saas.tailnet.model import (
    DEFAULT_PREFIX_V4,
    DEFAULT_PREFIX_V6,
    DnsSettings,
    IPNetwork,
    Settings,
)

MAX_ZONES = 256


def dns_config(settings: Settings) -> DNSConfig:
    """What every node of the tailnet is told."""
    dns = settings.dns
    servers = tuple(Resolver(addr=address) for address in dns.nameservers)
    return DNSConfig(
        resolvers=servers if dns.override_local else (),
        fallback_resolvers=() if dns.override_local else servers,
        routes=dns_routes(settings) or None,
        domains=search_domains(settings),
        proxied=dns.magic_dns,
        extra_records=extra_records(dns),
    )


def dns_routes(settings: Settings) -> dict[str, tuple[Resolver, ...]]:
    """Suffix -> resolvers; () = MagicDNS answers alone (never null: some clients drop it)."""
    routes = {
        suffix: tuple(Resolver(addr=address) for address in addresses)
        for suffix, addresses in settings.dns.split.items()
    }
    if settings.dns.magic_dns:
        if settings.base_domain:
            routes.setdefault(settings.base_domain, ())
        for prefix in (settings.prefix_v4, settings.prefix_v6):
            for zone in unknown_zones(prefix):
                routes.setdefault(zone, ())
    return dict(sorted(routes.items()))


def unknown_zones(prefix: IPNetwork | None) -> list[str]:
    """The reverse zones of a prefix, unless it lies in the two ranges whose zones clients add themselves."""
    if isinstance(prefix, IPv4Network) and not prefix.subnet_of(DEFAULT_PREFIX_V4):
        return reverse_zones(prefix, 8)
    if isinstance(prefix, IPv6Network) and not prefix.subnet_of(DEFAULT_PREFIX_V6):
        return reverse_zones(prefix, 4)
    return []


def reverse_zones(prefix: IPNetwork, step: int) -> list[str]:
    """The zones that cover the prefix, at the next label boundary (`step` bits a label)."""
    length = -(-prefix.prefixlen // step) * step
    labels = (prefix.max_prefixlen - length) // step
    if 2 ** (length - prefix.prefixlen) > MAX_ZONES:
        return []
    parts = (part.network_address.reverse_pointer for part in prefix.subnets(new_prefix=length))
    return [pointer.split(".", labels)[labels] for pointer in parts]


def search_domains(settings: Settings) -> tuple[str, ...]:
    own = (settings.base_domain,) if settings.base_domain and settings.dns.magic_dns else ()
    return own + tuple(domain for domain in settings.dns.search_domains if domain not in own)


def extra_records(dns: DnsSettings) -> tuple[DNSRecord, ...]:
    return tuple(DNSRecord(name=r.name, type=r.type, value=r.value) for r in dns.extra_records)
