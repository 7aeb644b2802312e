"""From where a netmap is looked at: the class of viewers, and the viewer."""

from collections.abc import Collection

from msgspec.structs import replace

from headscale_saas.policy import Audience, Compiled
from headscale_saas.policy.language.document import PolicyRelays
from headscale_saas.tailcfg.capver import wire_class
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.derpmap import DERPMap, DERPNode, DERPRegion, HomeParams
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.state import TailnetState

PLACEHOLDER_REGION = 999
DISCARD_PORT = 9


class Environment:
    """Facts of the process that are in no state: the relays, and the host name of the server (`Domain`).

    Immutable; make a new one when a fact changes.
    """

    __slots__ = ("_with_relays", "derp_map", "derp_map_json", "domain")

    def __init__(self, derp_map: DERPMap, domain: str) -> None:
        self.derp_map = derp_map
        self.derp_map_json = encode(_explicit(derp_map))
        self.domain = domain
        self._with_relays: tuple[PolicyRelays, bytes] | None = None

    def derp_map_with(self, relays: PolicyRelays | None) -> bytes:
        """The map as JSON, changed as a policy says."""
        if relays is None:
            return self.derp_map_json
        known = self._with_relays
        if known is None or known[0] is not relays:
            known = self._with_relays = (relays, encode(_explicit(_changed(self.derp_map, relays))))
        return known[1]


def placeholder_derp_map() -> DERPMap:
    """A map with one region where nobody answers: without any, `tailscale up` waits for ever.

    Its address is the client's own, so that neither a question nor a packet leaves the client for it.
    """
    node = DERPNode(
        name="999a",
        region_id=PLACEHOLDER_REGION,
        host_name="127.0.0.1",
        ipv4="127.0.0.1",
        ipv6="none",
        stun_port=-1,
        derp_port=DISCARD_PORT,
    )
    region = DERPRegion(
        region_id=PLACEHOLDER_REGION, region_code="none", region_name="No relay", nodes=(node,)
    )
    return DERPMap(regions={PLACEHOLDER_REGION: region})


def _changed(derp_map: DERPMap, relays: PolicyRelays) -> DERPMap:
    """The policy's regions over the usual ones, or in place of them. One relay at least must remain."""
    usual = {} if relays.omit_default_regions else derp_map.regions or {}
    regions = {number: region for number, region in {**usual, **relays.regions}.items() if region is not None}
    return replace(derp_map, regions=regions or placeholder_derp_map().regions)


def _explicit(derp_map: DERPMap) -> DERPMap:
    """Nothing left out: in a later message an absent member would mean "as before"."""
    params = derp_map.home_params or HomeParams()
    return DERPMap(
        regions={number: region for number, region in (derp_map.regions or {}).items() if region is not None},
        home_params=HomeParams(region_score=params.region_score or {}),
        omit_default_regions=derp_map.omit_default_regions,
    )


class ClassView:
    """What viewers of one audience and wire class have in common at one version of one tailnet."""

    __slots__ = ("audience", "compiled", "environment", "state", "wire_class")

    def __init__(
        self,
        state: TailnetState,
        compiled: Compiled,
        environment: Environment,
        audience: Audience,
        wire_class: int,
    ) -> None:
        self.state = state
        self.compiled = compiled
        self.environment = environment
        self.audience = audience
        self.wire_class = wire_class

    def visible(self, node_id: NodeId) -> Node | None:
        """The node, if viewers of this class are told of it."""
        node = self.state.nodes.get(node_id)
        return node if node is not None and self.compiled.sees(self.audience, node) else None

    def peers(self) -> Collection[NodeId]:
        """Where to look for what viewers of this class are told of, in order of id."""
        peers = self.compiled.peers(self.audience)
        return self.state.nodes.keys() if peers is None else peers


class View:
    """What one node is told: what its class is told, without itself, and its own row."""

    __slots__ = ("of_class", "viewer")

    def __init__(self, of_class: ClassView, viewer: Node) -> None:
        self.of_class = of_class
        self.viewer = viewer


def class_of(compiled: Compiled, viewer: Node) -> tuple[Audience, int]:
    """What decides the shared part of a node's netmap; equal for those who can share frames."""
    return compiled.audience(viewer), wire_class(viewer.capver)


def view_of(state: TailnetState, compiled: Compiled, viewer: Node, environment: Environment) -> View:
    """The view of one node of the state, with a class view of its own."""
    return View(ClassView(state, compiled, environment, *class_of(compiled, viewer)), viewer)
