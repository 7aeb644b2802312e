"""Who is on the other side: behind trusted proxies, and for counting."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


class Proxies:
    """The networks whose `X-Forwarded-For` is believed."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Sequence[str | Network] = ()) -> None:
        self._networks = tuple(ip_network(network) for network in networks)

    def trusts(self, address: str) -> bool:
        ip = _parsed(address)
        return ip is not None and any(ip in network for network in self._networks)

    def client(self, address: str, forwarded_for: str) -> str:
        """The nearest address that is no proxy of ours: only what a trusted one has written counts."""
        if not self.trusts(address):
            return address
        for hop in reversed(forwarded_for.split(",")):
            ip = _parsed(hop.strip())
            if ip is None:
                break
            address = str(ip)
            if not self.trusts(address):
                break
        return address


def source(address: str) -> str:
    """What counts as one origin: an IPv4 address or an IPv6 /64."""
    ip = _parsed(address)
    if isinstance(ip, IPv6Address):
        return str(IPv6Network((int(ip) >> 64 << 64, 64)))
    return str(ip) if ip is not None else address


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip
