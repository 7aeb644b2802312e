"""DNSConfig from the settings of a tailnet."""

from ipaddress import IPv4Network, IPv6Network

import pytest

from headscale_saas.netmap.dns import dns_config, unknown_zones
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailnet.model import DnsSettings, Settings


def test_servers_override_the_devices_own_or_stand_behind_them() -> None:
    servers = ("192.0.2.53",)
    over = dns_config(Settings(dns=DnsSettings(nameservers=servers, override_local=True)))
    behind = dns_config(Settings(dns=DnsSettings(nameservers=servers)))
    assert [r.addr for r in over.resolvers] == [r.addr for r in behind.fallback_resolvers] == ["192.0.2.53"]
    assert over.fallback_resolvers == behind.resolvers == ()


def test_a_suffix_without_servers_has_an_empty_list_and_never_null() -> None:
    config = dns_config(Settings(base_domain="tail.example", dns=DnsSettings(split={"corp.example": ()})))
    assert encode(config.routes) == b'{"corp.example":[],"tail.example":[]}'


def test_without_magic_dns_nothing_is_answered_here() -> None:
    config = dns_config(Settings(base_domain="tail.example", dns=DnsSettings(magic_dns=False)))
    assert (config.proxied, config.routes, config.domains) == (False, None, ())


@pytest.mark.parametrize(
    ("prefix", "zones"),
    [
        (IPv4Network("100.64.0.0/10"), []),
        (IPv4Network("100.99.0.0/16"), []),
        (IPv6Network("fd7a:115c:a1e0:7::/64"), []),
        (IPv4Network("10.0.0.0/8"), ["10.in-addr.arpa"]),
        (IPv4Network("10.1.2.0/23"), ["2.1.10.in-addr.arpa", "3.1.10.in-addr.arpa"]),
        (IPv6Network("fd00:1::/32"), ["1.0.0.0.0.0.d.f.ip6.arpa"]),
        (None, []),
    ],
)
def test_reverse_zones_are_named_where_clients_do_not_know_them(prefix: object, zones: list[str]) -> None:
    assert unknown_zones(prefix) == zones  # type: ignore[arg-type]
