"""The wire Node: of a peer, with what peers may know, and of the viewer itself.

A view must be reachable by patches, so a peer always has Online, Endpoints (even if empty) and the LastSeen
it ever had: clients do not notice when these appear or vanish.
"""

from headscale_saas.netmap.identity import full_name, peer_user, self_user
from headscale_saas.tailcfg.capver import DEFAULT_AUTO_UPDATE_CAP
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.node import CapMap
from headscale_saas.tailcfg.node import Node as WireNode
from headscale_saas.tailnet.model import Node, Role, Settings, User
from headscale_saas.tailnet.routes import EXIT_ROUTES, usable_routes

FILE_SHARING = "https://tailscale.com/cap/file-sharing"
SSH = "https://tailscale.com/cap/ssh"
IS_ADMIN = "https://tailscale.com/cap/is-admin"
DISPLAY_NAME = "tailnet-display-name"
AUTO_UPDATE = "default-auto-update"
RANDOM_PORT = "randomize-client-port"

ADMINS = frozenset({Role.OWNER, Role.ADMIN})


def peer_row(
    node: Node, settings: Settings, routes: tuple[str, ...], attributes: CapMap, *, hides_ipv4: bool = False
) -> WireNode:
    """A node as its peers are told. `routes` are those it serves to them."""
    addresses = own_prefixes(node, hides_ipv4=hides_ipv4)
    return WireNode(
        id=node.id,
        stable_id=node.stable_id,
        name=full_name(node, settings),
        user=peer_user(node),
        key=node.node_key,
        key_expiry=node.expires_at,
        disco_key=node.disco_key,
        addresses=addresses,
        allowed_ips=addresses + routes,
        endpoints=node.endpoints,
        home_derp=node.home_derp,
        hostinfo=peer_hostinfo(node.hostinfo),
        created=node.created_at,
        cap=node.capver,
        tags=node.tags,
        primary_routes=subnets(routes),
        last_seen=node.last_seen,
        online=node.online,
        cap_map=dict(sorted(attributes.items())) if attributes else None,
        expired=node.expired,
    )


def self_row(
    node: Node,
    settings: Settings,
    owner: User | None,
    routes: tuple[str, ...],
    attributes: CapMap,
    *,
    hides_ipv4: bool = False,
) -> WireNode:
    """A node as itself is told: also the routes that it may serve though another router does (`routes` are
    those it serves). What it reports all the time (endpoints, network) is not told back: every change of
    this row makes the client rebuild everything.
    """
    addresses = own_prefixes(node, hides_ipv4=hides_ipv4)
    capabilities = self_capabilities(node, settings, owner) | attributes
    return WireNode(
        id=node.id,
        stable_id=node.stable_id,
        name=full_name(node, settings),
        user=self_user(node),
        key=node.node_key,
        key_expiry=node.expires_at,
        machine=node.machine_key,
        disco_key=node.disco_key,
        addresses=addresses,
        allowed_ips=addresses + usable_routes(node),
        home_derp=node.home_derp,
        hostinfo=Hostinfo(os=node.hostinfo.os, hostname=node.hostinfo.hostname),
        created=node.created_at,
        cap=node.capver,
        tags=node.tags,
        primary_routes=subnets(routes),
        online=True,
        machine_authorized=node.authorized,
        cap_map=dict(sorted(capabilities.items())),
        expired=node.expired,
    )


def self_capabilities(node: Node, settings: Settings, owner: User | None) -> CapMap:
    """What the node may do by the tailnet's settings and its owner's role."""
    capabilities: CapMap = {SSH: ()}
    if settings.taildrop:
        capabilities[FILE_SHARING] = ()
    if owner is not None and owner.role in ADMINS:
        capabilities[IS_ADMIN] = ()
    if settings.randomize_client_port:
        capabilities[RANDOM_PORT] = ()
    if settings.display_name:
        capabilities[DISPLAY_NAME] = (settings.display_name,)
    if node.capver >= DEFAULT_AUTO_UPDATE_CAP:
        capabilities[AUTO_UPDATE] = (settings.auto_update,)
    return capabilities


def peer_hostinfo(info: Hostinfo) -> Hostinfo:
    """The little that clients read in a peer's Hostinfo; the rest is nobody's business."""
    return Hostinfo(
        os=info.os,
        hostname=info.hostname,
        sharee_node=info.sharee_node,
        services=info.services,
        ssh_host_keys=info.ssh_host_keys,
        app_connector=info.app_connector,
        location=info.location,
    )


def own_prefixes(node: Node, *, hides_ipv4: bool = False) -> tuple[str, ...]:
    v4 = () if node.ipv4 is None or hides_ipv4 else (f"{node.ipv4}/32",)
    v6 = () if node.ipv6 is None else (f"{node.ipv6}/128",)
    return v4 + v6


def subnets(routes: tuple[str, ...]) -> tuple[str, ...]:
    """The routes without the exit routes: of these there is one server at a time."""
    return tuple(route for route in routes if route not in EXIT_ROUTES) if routes else ()
