"""What a compiled policy answers. It belongs to one state of one tailnet and never changes."""

from collections.abc import Hashable, Mapping
from typing import Protocol

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

    def sees(self, audience: Audience, peer: Node) -> bool:
        """Whether these viewers are told of the peer. (That no viewer is its own peer is not asked here.)"""

    def peer_routes(self, audience: Audience, peer: Node) -> tuple[str, ...]:
        """Which of the routes the peer serves these viewers get; sorted."""

    def peer_attributes(self, audience: Audience, peer: Node) -> CapMap:
        """Capabilities of the peer that these viewers are told of (such as `suggest-exit-node`)."""

    def filters(self, node: Node) -> Filters:
        """What may come in at this node. The same object while nothing changed: `is` is a quick check."""

    def ssh_policy(self, node: Node) -> SSHPolicy:
        """Who may log in at this node by Tailscale SSH."""

    def node_attributes(self, node: Node) -> CapMap:
        """Capabilities the policy adds to the node's own."""

    def served_routes(self, node: Node) -> tuple[str, ...]:
        """All the routes the node serves now, as the node itself is told; sorted."""

    def moved_since(self, before: "Compiled") -> frozenset[NodeId] | None:
        """Nodes that may look different to somebody though their row did not change; None = all of them."""
