"""Which routes each node serves now.

A route is served by a node that advertises it and was approved for it. A subnet prefix has one server at
a time: the online router with the lowest id, or the router with the lowest id while all are away (so that
a lone router's restart changes nothing). The two exit routes go together, and every exit node serves them.
"""

from collections.abc import Iterable, Mapping

from headscale_saas.tailnet.model import Node, NodeId

EXIT_ROUTES = ("0.0.0.0/0", "::/0")

Served = Mapping[NodeId, tuple[str, ...]]
"""The routes of each node that serves any, sorted; nodes that serve none are not in it."""


def served_routes(nodes: Iterable[Node]) -> Served:
    """Elects the server of each prefix. `nodes` in ascending order of id."""
    usable: list[tuple[Node, tuple[str, ...]]] = []
    primary: dict[str, Node] = {}
    for node in nodes:
        if not node.approved_routes:
            continue
        usable.append((node, usable_routes(node)))
        for route in usable[-1][1]:
            holder = primary.setdefault(route, node)
            if node.online and not holder.online:
                primary[route] = node
    served = {
        node.id: tuple(route for route in routes if route in EXIT_ROUTES or primary[route] is node)
        for node, routes in usable
    }
    return {node_id: routes for node_id, routes in served.items() if routes}


def usable_routes(node: Node) -> tuple[str, ...]:
    """The routes it advertises and may serve, sorted. An exit route without the other one does not count."""
    if node.expired or not node.authorized:
        return ()
    routes = set(node.approved_routes) & set(node.hostinfo.routable_ips)
    if not routes.issuperset(EXIT_ROUTES):
        routes.difference_update(EXIT_ROUTES)
    return tuple(sorted(routes))


def may_change_routes(before: Node | None, after: Node | None) -> bool:
    """Whether an election may end differently after this change of a row."""
    return any(node is not None and node.approved_routes for node in (before, after))
