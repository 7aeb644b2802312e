"""What a policy adds to nodes' capabilities: `nodeAttrs`, and the options for the whole tailnet."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.language.document import Document
from headscale_saas.tailcfg.codec import Json
from headscale_saas.tailcfg.node import CapMap
from headscale_saas.tailnet.model import Node
from headscale_saas.tailnet.routes import EXIT_ROUTES

DISABLE_IPV4 = "disable-ipv4"
SUGGEST_EXIT_NODE = "suggest-exit-node"
RANDOM_PORT = "randomize-client-port"

FUNNEL = "funnel"
# HTTPS certificates are not offered, so whoever may use Funnel is told that it needs them.
FUNNEL_COMPANIONS = (
    "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000",
    "https://tailscale.com/cap/warn-funnel-no-https",
)

ONE_CGNAT_ROUTE: Mapping[str, str] = MappingProxyType(
    {"mac-always": "one-cgnat?v=true", "mac-never": "one-cgnat?v=false"}
)
"""By the value of `OneCGNATRoute`. Only Macs are told; others go by what suits their system."""
MACOS = "macOS"

NOTHING: CapMap = {}


class Attributes:
    """The attributes of one document. Masks say which selectors contain a node."""

    def __init__(self, document: Document, atoms: Atoms) -> None:
        self._entries = [
            (atoms.bits(entry.targets), dict(_capabilities(entry.attributes, entry.app)))
            for entry in document.node_attrs
        ]
        self._of_all = dict(_capabilities(_of_all(document), {}))
        self._of_macs = ONE_CGNAT_ROUTE.get(document.one_cgnat_route)
        self._targets = 0
        for targets, _ in self._entries:
            self._targets |= targets
        self._known: dict[tuple[int, bool], CapMap] = {}

    def of(self, node: Node, mask: int) -> CapMap:
        """What the node gets; the same object for all nodes that get the same. Not to be changed."""
        key = mask & self._targets, self._of_macs is not None and node.hostinfo.os == MACOS
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._made(*key)
        return known

    def of_peer(self, node: Node, mask: int, served: tuple[str, ...]) -> CapMap:
        """What peers are told of. `served` are the routes of the node that they get."""
        is_exit_node = any(route in EXIT_ROUTES for route in served)
        if is_exit_node and SUGGEST_EXIT_NODE in self.of(node, mask):
            return {SUGGEST_EXIT_NODE: ()}
        return NOTHING

    def _made(self, mask: int, is_mac: bool) -> CapMap:
        found = dict(self._of_all)
        for targets, capabilities in self._entries:
            if mask & targets:
                for name, values in capabilities.items():
                    found[name] = found.get(name, ()) + values
        if is_mac and self._of_macs:
            found[self._of_macs] = ()
        return dict(found)


def _of_all(document: Document) -> tuple[str, ...]:
    random_port = (RANDOM_PORT,) if document.randomize_client_port else ()
    return random_port + ((DISABLE_IPV4,) if document.disable_ipv4 else ())


def _capabilities(
    names: tuple[str, ...], app: Mapping[str, tuple[Json, ...]]
) -> Iterator[tuple[str, tuple[Json, ...]]]:
    for name in names:
        yield name, ()
        if name == FUNNEL:
            yield from ((companion, ()) for companion in FUNNEL_COMPANIONS)
    yield from app.items()
