"""The two address ranges of a tailnet and the order in which addresses are given.

Sequential: one above the highest that is in use or resting, so that a join costs one look at an index. Past
the end of the range the gaps are used, lowest first, and when there are none the address that rested longest.
Random: a few at random, the first free one; then as above.
"""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from headscale_saas.errors import LimitReached

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network

RESERVED: tuple[Prefix, ...] = (
    IPv4Network("100.100.100.100/32"),  # the client's own DNS and web interface
    IPv6Network("fd7a:115c:a1e0::53/128"),  # the same
    IPv4Network("100.115.92.0/23"),  # ChromeOS containers
)

RANDOM_TRIES = 16


def first(prefix: Prefix) -> Address | None:
    """The first address that may be given: the one after the network's own."""
    return after(prefix, prefix.network_address)


def last(prefix: Prefix) -> Address:
    """The last that may be given; the last of an IPv4 network is its broadcast address."""
    is_v4 = prefix.version == 4 and prefix.num_addresses > 2
    return prefix.broadcast_address - 1 if is_v4 else prefix.broadcast_address


def after(prefix: Prefix, address: Address | None) -> Address | None:
    """The next address that may be given after this one (None: the first); None at the end of the range."""
    if address is None:
        return first(prefix)
    if int(address) >= int(last(prefix)):
        return None
    candidate = address + 1
    for reserved in RESERVED:
        if reserved.version == prefix.version and candidate in reserved:
            return after(prefix, reserved.broadcast_address)
    return candidate


def may_be_given(prefix: Prefix, address: Address) -> bool:
    is_ours = int(prefix.network_address) < int(address) <= int(last(prefix))
    return is_ours and not any(r.version == address.version and address in r for r in RESERVED)


def gap_starts(prefix: Prefix) -> list[Address]:
    """Where a gap may begin besides after an address that is taken."""
    inside = [r for r in RESERVED if r.version == prefix.version and r.network_address in prefix]
    starts = [first(prefix), *(after(prefix, reserved.broadcast_address) for reserved in inside)]
    return [address for address in starts if address is not None]


def at_random(prefix: Prefix, random_below: Callable[[int], int]) -> Iterator[Address]:
    """A few addresses of the range that may be given."""
    for _ in range(RANDOM_TRIES):
        address = prefix[random_below(prefix.num_addresses)]
        if may_be_given(prefix, address):
            yield address


def exhausted(prefix: Prefix) -> LimitReached:
    return LimitReached(f"no free address is left in {prefix}", code="addresses_exhausted")
