"""What is compared, area by area. Each yields the faults it finds, as (area, recorded, ours)."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from ipaddress import ip_network
from itertools import chain, product
from typing import Any, NamedTuple

from golden import wrong_cases
from golden.cases import Case
from golden.client import ClientFilter, Source, ssh_decision, without_order
from golden.forms import (
    ELSEWHERE,
    as_json,
    capabilities,
    in_order,
    inside,
    principals_in_order,
    without_absent,
    without_order_in_rules,
)
from headscale_saas.netmap.rows import own_prefixes, self_capabilities, self_row
from headscale_saas.policy import compile_policy
from headscale_saas.policy.approvers import Approvers
from headscale_saas.policy.language import parse
from headscale_saas.tailnet.model import Node
from headscale_saas.tailnet.routes import EXIT_ROUTES


class Fault(NamedTuple):
    where: object
    recorded: object
    ours: object

    def __str__(self) -> str:
        return f"{self.where}\n  recorded: {self.recorded}\n  ours:     {self.ours}"


Area = Callable[[Node, Mapping[str, Any]], Iterator[Fault]]


class Comparison:
    """One accepted case, carried out once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.compiled = compile_policy(case.policy, case.state)

    def faults(self) -> Iterator[Fault]:
        for hostname, view in self.case.views.items():
            node = self.case.nodes[hostname]
            for member, faults in self._areas():
                if self.case.is_reliable(hostname, member):
                    yield from faults(node, view)
            yield from self.both_faces(node)
            yield from self.both_ssh_faces(node)
        yield from self.route_approval()

    def _areas(self) -> Iterator[tuple[str, Area]]:
        """By the members of a recording, as its marks of unreliable parts name them."""
        yield "packet_filter_rules", self.packet_filter
        yield "peers", self.peers
        yield "self", self.own_routes
        if self.case.family == "nodeattrs":
            yield "self", self.attributes
        if self.case.family == "grant":
            yield "peer_capabilities", self.peer_capabilities
        if self.case.family in ("ssh", "sshtest"):
            yield "ssh_rules", self.ssh

    def packet_filter(self, node: Node, view: Mapping[str, Any]) -> Iterator[Fault]:
        recorded, ours = view["packet_filter_rules"], as_json(self.compiled.printed(node))
        is_strict = not self.case.topology["synthetic_ipv6"]
        form = without_absent if is_strict else without_order_in_rules
        yield from differ(f"{node.hostname}: packet filter", form(recorded), form(ours))

    def peers(self, node: Node, view: Mapping[str, Any]) -> Iterator[Fault]:
        recorded, seen = view["peers"], self.seen_by(node)
        yield from differ(f"{node.hostname}: peers", sorted(recorded), sorted(seen))
        for hostname in sorted(recorded.keys() & seen.keys()):
            yield from self.peer_routes(node, seen[hostname], recorded[hostname])

    def peer_routes(self, node: Node, peer: Node, recorded: Mapping[str, Any]) -> Iterator[Fault]:
        routes = self.compiled.peer_routes(self.compiled.audience(node), peer)
        addresses = self.addresses_told(node, peer)
        where = f"{node.hostname} sees {peer.hostname}"
        yield from differ(f"{where}: AllowedIPs", recorded["allowed_ips"], in_order([*addresses, *routes]))
        primary = [route for route in in_order(routes) if route not in EXIT_ROUTES]
        yield from differ(f"{where}: PrimaryRoutes", recorded.get("primary_routes") or [], primary)

    def own_routes(self, node: Node, view: Mapping[str, Any]) -> Iterator[Fault]:
        recorded, addresses = view["self"], self.addresses_told(node, node)
        row = self_row(node, self.case.state.tailnet.settings, None, self.compiled.served_routes(node), {})
        allowed = [*addresses, *row.allowed_ips[len(row.addresses) :]]
        yield from differ(f"{node.hostname}: own Addresses", recorded["addresses"], addresses)
        yield from differ(f"{node.hostname}: own AllowedIPs", recorded["allowed_ips"], in_order(allowed))
        primary = in_order(row.primary_routes)
        yield from differ(f"{node.hostname}: own PrimaryRoutes", recorded["primary_routes"], primary)

    def attributes(self, node: Node, view: Mapping[str, Any]) -> Iterator[Fault]:
        owner = self.case.state.users[node.user_id] if node.user_id else None
        settings = self.case.state.tailnet.settings
        ours = self_capabilities(node, settings, owner) | self.compiled.node_attributes(node)
        recorded = capabilities(view["self"]["cap_map"])
        yield from differ(f"{node.hostname}: CapMap", recorded, capabilities(ours))
        audience = self.compiled.audience(node)
        for hostname, peer in self.seen_by(node).items():
            recorded = capabilities(view["peers"].get(hostname, {}).get("cap_map"))
            shown = capabilities(self.compiled.peer_attributes(audience, peer))
            yield from differ(f"{node.hostname} sees {hostname}: CapMap", recorded, shown)

    def peer_capabilities(self, node: Node, view: Mapping[str, Any]) -> Iterator[Fault]:
        rules = ClientFilter(as_json(self.compiled.printed(node)))
        for hostname, recorded in (view.get("peer_capabilities") or {}).items():
            source = Source(str(self.case.nodes[hostname].ipv4))
            ours = rules.capabilities(source, str(node.ipv4))
            plain = {name: values or [] for name, values in (recorded or {}).items()}
            yield from differ(f"{hostname} on {node.hostname}: capabilities", plain, ours)

    def ssh(self, node: Node, view: Mapping[str, Any]) -> Iterator[Fault]:
        ours = [principals_in_order(rule) for rule in as_json(self.compiled.printed_ssh(node))]
        recorded = [principals_in_order(rule) for rule in view["ssh_rules"]]
        yield from differ(f"{node.hostname}: SSH", recorded, ours)

    def route_approval(self) -> Iterator[Fault]:
        decides = Approvers(parse(self.case.policy))
        for hostname, recorded in (self.case.expect.get("route_approval") or {}).items():
            node = self.case.nodes[hostname]
            user = self.case.state.users[node.user_id] if node.user_id else None
            for route in [*recorded["approved"], *recorded["not_approved"]]:
                ours = decides.approves_route(ip_network(route), user, node.tags)
                yield from differ(f"{hostname}: {route} approved", route in recorded["approved"], ours)

    def both_faces(self, node: Node) -> Iterator[Fault]:
        """What clients are sent decides like what is printed."""
        printed = ClientFilter(as_json(self.compiled.printed(node)))
        chunks = self.compiled.filters(self.compiled.audience(node))
        sent = ClientFilter(as_json(chain.from_iterable(chunks[name] for name in sorted(chunks))))
        own = [str(address) for address in (node.ipv4, node.ipv6) if address]
        for target in [*own, *inside(node.hostinfo.routable_ips)]:
            for source in self._sources[":" in target]:
                open_in_both = printed.lets_in(source, target), sent.lets_in(source, target)
                yield from differ((source.address, target, "ports"), *open_in_both)
        for target in own:
            for source in self._sources[":" in target]:
                granted = (without_order(face.capabilities(source, target)) for face in (printed, sent))
                yield from differ((source.address, target, "capabilities"), *granted)

    def both_ssh_faces(self, node: Node) -> Iterator[Fault]:
        """The same of SSH rules; but a tagged node is not told that it may log in at itself."""
        printed = as_json(self.compiled.printed_ssh(node))
        sent = as_json(self.compiled.ssh_policy(self.compiled.audience(node)).rules)
        logins = {"somebody", *(name for rule in printed for name in rule["sshUsers"])}
        sources = [peer for peer in self.case.nodes.values() if peer.user_id or peer is not node]
        for source, login in product((str(source.ipv4) for source in sources), logins):
            decided = (ssh_decision(rules, source, login) for rules in (printed, sent))
            yield from differ((source, login, node.hostname, "SSH"), *decided)

    def addresses_told(self, viewer: Node, node: Node) -> list[str]:
        hidden = self.compiled.hides_ipv4(self.compiled.audience(viewer), node)
        return [text for text in own_prefixes(node) if not (hidden and ip_network(text).version == 4)]

    def seen_by(self, node: Node) -> dict[str, Node]:
        audience = self.compiled.audience(node)
        others = (peer for peer in self.case.nodes.values() if peer is not node)
        return {peer.hostname: peer for peer in others if self.compiled.sees(audience, peer)}

    @cached_property
    def _sources(self) -> Mapping[bool, list[Source]]:
        """Whose packets are tried: of IPv6 or not."""
        nodes = self.case.nodes.values()
        sources = [
            Source(str(address), self.compiled.node_attributes(node))
            for node in nodes
            for address in (node.ipv4, node.ipv6)
        ]
        behind = inside({route for node in nodes for route in node.hostinfo.routable_ips})
        sources += [Source(address) for address in {*behind, *ELSEWHERE}]
        return {is_v6: [one for one in sources if (":" in one.address) == is_v6] for is_v6 in (False, True)}


def refusal_faults(case: Case, message: str) -> Iterator[Fault]:
    """The recorded text must be part of ours."""
    recorded = case.expect["error"]
    if case.name in wrong_cases.ERROR:
        return
    if case.name in wrong_cases.DOMAIN:
        recorded, message = (
            re.sub(r"\S+ is not assoc", "? is not assoc", text) for text in (recorded, message)
        )
    if recorded not in message:
        yield Fault("error", recorded, message)


def differ(where: object, recorded: object, ours: object) -> Iterator[Fault]:
    if recorded != ours:
        yield Fault(where, recorded, ours)
