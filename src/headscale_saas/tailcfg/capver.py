"""Capability versions that decide what we send (`tailcfg/tailcfg.go:CapabilityVersion`).

A client says its version with every request. Below FLOOR it is refused with a text that names the release
it needs. Attributes that old clients do not know need no branch: they ignore them.
"""

FLOOR = 113
"""1.80. From here on: HomeDERP, absent AllowedIPs = Addresses, PacketFilters, CapMap, `cap:` sources."""

FLOOR_RELEASE = "1.80"

NO_MEASURE_NO_HOME = 115
"""1.82: DERPRegion.NoMeasureNoHome; below it the region says `Avoid` as well."""

DISPLAY_MESSAGES = 117
"""1.86: warnings as DisplayMessages; below it as Health."""

RESOLVER_WITH_EXIT_NODE = 125
"""1.88: Resolver.UseWithExitNode; older clients ignore it."""

DEFAULT_AUTO_UPDATE_CAP = 131
"""1.92: `default-auto-update` is read from Node.CapMap; below it from MapResponse.DefaultAutoUpdate."""

RATE_LIMIT = 137
"""1.98: 429 with Retry-After at register is understood; below it delay, or say `Error`."""


def is_supported(capver: int) -> bool:
    return capver >= FLOOR


def wire_class(capver: int) -> int:
    """Which encoding of the messages that many nodes share this client reads.

    One for all since FLOOR: what differs above it is the node's own row, which is never shared.
    """
    return 0
