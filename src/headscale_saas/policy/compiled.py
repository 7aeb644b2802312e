"""What a compiled policy answers. It belongs to one state of one tailnet and never changes."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from headscale_saas.policy.language.document import PolicyRelays
from headscale_saas.tailcfg.filters import FilterRule
from headscale_saas.tailcfg.node import CapMap
from headscale_saas.tailcfg.ssh import SSHPolicy
from headscale_saas.tailnet.model import Node, NodeId

Audience = Hashable
"""Viewers of equal audience see the same peers in the same form. Equal across versions means: still the same
kind of viewer, so that one difference serves all of them."""

Filters = Mapping[str, tuple[FilterRule, ...]]
"""Named chunks of a node's packet filter. The whole is their concatenation in the order of names."""


class Compiled(Protocol):
    """Asked with nodes of the state it was compiled (or advanced) for."""

    def audience(self, node: Node) -> Audience:
        """The class of viewers this node belongs to. Expired and unauthorized nodes see no peers."""

    def peers(self, audience: Audience) -> Sequence[NodeId] | None:
        """Where to look for what these viewers are told of: ascending, nobody missing; None = everybody."""

    def aspect(self, audience: Audience, peer: Node) -> Hashable:
        """None: these viewers are not told of the peer. Else a value; while it and the peer's row stay equal,
        so does what they are told of it: routes, attributes, addresses."""

    def sees(self, audience: Audience, peer: Node) -> bool:
        """Whether these viewers are told of the peer. (That no viewer is its own peer is not asked here.)"""

    def peer_routes(self, audience: Audience, peer: Node) -> tuple[str, ...]:
        """Which of the routes the peer serves these viewers get; sorted."""

    def peer_attributes(self, audience: Audience, peer: Node) -> CapMap:
        """Capabilities of the peer that these viewers are told of (such as `suggest-exit-node`)."""

    def hides_ipv4(self, audience: Audience, node: Node) -> bool:
        """Whether these viewers are told of the node (a peer, or themselves) without its IPv4 address."""

    def filters(self, audience: Audience) -> Filters:
        """What may come in at these viewers. The same object while nothing changed: `is` is a quick check."""

    def ssh_policy(self, audience: Audience) -> SSHPolicy:
        """Who may log in at these viewers by Tailscale SSH. The same object while nothing changed."""

    def check_period(self, source: Node, target: Node) -> timedelta | None:
        """How long a check lasts that lets the source log in at the target by SSH: 0 = each is asked anew.
        None: no rule asks for a check.
        """

    def node_attributes(self, node: Node) -> CapMap:
        """Capabilities the policy adds to the node's own."""

    @property
    def is_full(self) -> bool:
        """Whether packet filters or SSH policies are as large as may be: then nodes that join now are let in
        nowhere by what names them, or told of no logins, before there is room again."""

    @property
    def relays(self) -> PolicyRelays | None:
        """What the policy changes in the map of relays. The same object while nothing changed."""

    def served_routes(self, node: Node) -> tuple[str, ...]:
        """All the routes the node serves now, as the node itself is told; sorted."""

    def moved_since(self, before: "Compiled") -> frozenset[NodeId] | None:
        """Nodes that may look different to somebody, or be told other things of themselves, though their row
        did not change; None = all of them. Audiences of all other nodes are those they were."""
