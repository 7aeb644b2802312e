"""One clause of a policy, asked about one pair of ends."""

from collections.abc import Iterable

import msgspec

from headscale_saas.policy import spans
from headscale_saas.policy.clauses import Clause
from headscale_saas.policy.language.ports import WITH_PORTS
from headscale_saas.policy.spans import Span
from headscale_saas.tailcfg.filters import LAST_PORT
from headscale_saas.tailnet.model import Node

PINGS = frozenset({1, 58})
BY_DEFAULT = frozenset({6, 17}) | PINGS
"""What a rule without a protocol allows: ICMP, TCP, UDP, ICMPv6."""


class End(msgspec.Struct, frozen=True, gc=False):
    """Where a connection begins or ends: an address (or the span of a prefix), and what contains it.

    `bits` are those of the selectors around it; those of postures are there for nodes. `node` None: no device
    of the tailnet has the address.
    """

    span: Span
    bits: int
    node: Node | None = None

    def __str__(self) -> str:
        return spans.spelled(self.span)


class Question(msgspec.Struct, frozen=True, gc=False):
    """A clause with its selectors as bits. Postures are the bits of which a device must have one."""

    clause: Clause
    sources: int
    postures: int
    targets: int
    via: int

    def is_from(self, source: End) -> bool:
        return self.names(source) and self.trusts(source)

    def names(self, source: End) -> bool:
        return bool(source.bits & self.sources)

    def trusts(self, source: End) -> bool:
        """Postures are asked of devices only: what is behind a subnet router passes."""
        return not self.postures or source.node is None or bool(source.bits & self.postures)

    def is_to(self, target: End, source: End) -> bool:
        return bool(target.bits & self.targets) or (self.clause.has_self and is_own(source, target))

    def lets_in(self, protocol: int, port: int) -> bool:
        """Whether clients let packets in because of the clause. Who may reach any port may ping; protocols
        without ports need all of them.
        """
        if protocol in PINGS:
            return bool(self.clause.ip)
        if protocol in WITH_PORTS:
            return self.opens({protocol}, port)
        return self.opens({protocol}, 0) and self.opens({protocol}, LAST_PORT)

    def opens(self, protocols: Iterable[int], port: int) -> bool:
        """Whether the clause opens the port for any of the protocols."""
        wanted = frozenset(protocols)
        return any(
            (wanted & (BY_DEFAULT if protocol is None else {protocol}))
            and any(span.first <= port <= span.last for span in ports)
            for protocol, ports in self.clause.ip
        )


def is_own(source: End, target: End) -> bool:
    """Whether both are devices of one user."""
    ends = (source.node, target.node)
    users = {node.user_id if node is not None else None for node in ends}
    return len(users) == 1 and None not in users
