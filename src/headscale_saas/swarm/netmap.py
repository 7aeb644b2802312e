"""How a client merges the messages of its poll (`control/controlclient/map.go:mapSession`), with its quirks.

An oracle for the server: written from what clients do, not from what the server means. It loses what a
client loses: values that a diff cannot express (`_patchified`), and disco keys that look stale.
"""

from datetime import datetime
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from headscale_saas.errors import ProtocolError
from headscale_saas.tailcfg.codec import ZERO_TIME, decode, time_or_none
from headscale_saas.tailcfg.derpmap import DERPMap, DERPRegion, HomeParams
from headscale_saas.tailcfg.dns import DNSConfig
from headscale_saas.tailcfg.filters import FilterRule
from headscale_saas.tailcfg.maps import MapResponse, PeerChange
from headscale_saas.tailcfg.node import Node, UserProfile
from headscale_saas.tailcfg.ssh import SSHPolicy

MAX_MESSAGE_BYTES = 256 << 20

WHOLE_ONLY = (
    "stable_id", "name", "user", "sharer", "machine", "addresses", "allowed_ips", "hostinfo", "created",
    "tags", "primary_routes", "machine_authorized", "unsigned_peer_api_only", "is_wireguard_only",
    "is_jailed", "expired", "exit_node_dns_resolvers",
    "self_node_v4_masq_addr_for_this_peer", "self_node_v6_masq_addr_for_this_peer",
)  # fmt: skip
"""If one of these differs, a whole node that a client is sent replaces the one it knows."""


class ClientNetmap:
    """What a client believes after the messages of one poll. A new poll starts with a new one."""

    def __init__(self) -> None:
        self.node: Node | None = None
        self.peers: dict[int, Node] = {}
        self.profiles: dict[int, UserProfile] = {}
        self.filters: dict[str, tuple[FilterRule, ...]] = {}
        self.dns_config = DNSConfig()
        self.derp_map: DERPMap | None = None
        self.ssh_policy: SSHPolicy | None = None
        self.domain = ""
        self.collect_services = False
        self.health: tuple[str, ...] = ()
        self.display_messages: dict[str, object] = {}
        self.default_auto_update: bool | None = None
        self.log_tail_disabled = False

    def apply_json(self, text: bytes, now: datetime | None = None) -> None:
        """Merges one decompressed message. Raises Invalid or ProtocolError where a client gives up."""
        self.apply(decode(MapResponse, text, limit=MAX_MESSAGE_BYTES), now)

    def apply(self, message: MapResponse, now: datetime | None = None) -> None:
        """Merges one message. `now` is the client's time, for the one member that means it."""
        if message.keep_alive:
            return
        if self.node is None and message.node is None:
            raise ProtocolError("initial MapResponse lacked node")
        self._apply_once(message)
        changed, patches = self._patchify(message)
        self._merge_peers(message, changed, patches, now)
        if message.node is not None:
            self.node = _upgraded(message.node)
        self.profiles.update((profile.id, profile) for profile in message.user_profiles or ())
        self._merge_derp_map(message.derp_map)
        self._merge_filters(message)
        self._merge_rest(message)

    @property
    def packet_filter(self) -> tuple[FilterRule, ...]:
        """The rules in force."""
        return tuple(rule for name in sorted(self.filters) for rule in self.filters[name])

    @property
    def users(self) -> dict[int, UserProfile]:
        """The profiles in use: of the node's user and of the peers' users."""
        nodes = [*([self.node] if self.node else []), *self.peers.values()]
        wanted = {user for node in nodes for user in (node.user, node.sharer)}
        return {user: self.profiles[user] for user in sorted(wanted) if user in self.profiles}

    def told(self) -> dict[str, Any]:
        """All it believes, for comparison."""
        return {
            "node": self.node,
            "peers": dict(sorted(self.peers.items())),
            "users": self.users,
            "packet_filter": self.packet_filter,
            "dns_config": self.dns_config,
            "derp_map": self.derp_map,
            "ssh_policy": self.ssh_policy,
            "domain": self.domain,
            "collect_services": self.collect_services,
            "health": self.health,
            "display_messages": self.display_messages,
        }

    def __repr__(self) -> str:
        name = self.node.name if self.node else "nobody"
        return f"ClientNetmap({name}, peers {sorted(self.peers)})"

    def _apply_once(self, message: MapResponse) -> None:
        if self.default_auto_update is None:
            self.default_auto_update = message.default_auto_update
        if message.debug is not None and message.debug.disable_log_tail:
            self.log_tail_disabled = True

    def _patchify(self, message: MapResponse) -> tuple[list[Node], list[PeerChange]]:
        """Whole nodes of known peers become patches where only patchable members differ."""
        changed: list[Node] = []
        patches = list(message.peers_changed_patch or ())
        for node in message.peers_changed or ():
            known = self.peers.get(node.id)
            upgraded = _upgraded(node, keep_unset_endpoints=True)
            if known is None or any(getattr(known, name) != getattr(upgraded, name) for name in WHOLE_ONLY):
                changed.append(upgraded)
            else:
                patches.append(_patchified(known, upgraded))
        return changed, patches

    def _merge_peers(
        self, message: MapResponse, changed: list[Node], patches: list[PeerChange], now: datetime | None
    ) -> None:
        if message.peers:  # an empty list does nothing
            self.peers = {node.id: self._fresh(_upgraded(node)) for node in message.peers}
            return
        # What is stale is decided on what was known before this message.
        patches = [patch for patch in patches if not self._is_stale(patch)]
        whole = [self._fresh(_upgraded(node)) for node in changed]
        for node_id in message.peers_removed or ():
            self.peers.pop(node_id, None)
        self.peers.update((node.id, node) for node in whole)
        for node_id, seen in (message.peer_seen_change or {}).items():
            self._set(node_id, last_seen=now if seen else None)
        for node_id, online in (message.online_change or {}).items():
            self._set(node_id, online=online)
        for patch in patches:
            self._set(patch.node_id, **_changes(patch))

    def _set(self, node_id: int, **changes: Any) -> None:
        if node_id in self.peers:
            self.peers[node_id] = replace(self.peers[node_id], **changes)

    def _is_stale(self, patch: PeerChange) -> bool:
        """A disco key of an offline peer that was not seen since: the whole patch is dropped."""
        known = self.peers.get(patch.node_id)
        if known is None or patch.disco_key is None or patch.online is not False or patch.last_seen is None:
            return False
        return known.last_seen is not None and patch.last_seen <= known.last_seen

    def _fresh(self, node: Node) -> Node:
        """A whole node; with the disco key known before, if the new one looks stale."""
        known = self.peers.get(node.id)
        if known is None or known.disco_key is None or node.online is not False:
            return node
        is_news = node.last_seen is not None and (known.last_seen is None or node.last_seen > known.last_seen)
        return node if is_news else replace(node, disco_key=known.disco_key)

    def _merge_derp_map(self, new: DERPMap | None) -> None:
        if new is None:
            return
        old = self.derp_map or DERPMap()
        regions, omit = new.regions, new.omit_default_regions
        if regions is None:
            regions, omit = old.regions, old.omit_default_regions
        params = new.home_params or old.home_params
        if params is not None and params.region_score is None and old.home_params is not None:
            params = HomeParams(region_score=old.home_params.region_score)
        kept: dict[int, DERPRegion | None] = {n: region for n, region in (regions or {}).items() if region}
        self.derp_map = DERPMap(regions=kept, home_params=params, omit_default_regions=omit)

    def _merge_filters(self, message: MapResponse) -> None:
        if message.packet_filter is not None:
            self.filters["base"] = message.packet_filter
        named = message.packet_filters or {}
        if "*" in named and named["*"] is None:
            self.filters.clear()
        for name, rules in named.items():
            if name == "*":
                continue
            if rules is None:
                self.filters.pop(name, None)
            else:
                self.filters[name] = rules

    def _merge_rest(self, message: MapResponse) -> None:
        self.dns_config = message.dns_config or self.dns_config
        self.ssh_policy = message.ssh_policy or self.ssh_policy
        self.domain = message.domain or self.domain
        if message.collect_services is not None:
            self.collect_services = message.collect_services
        if message.health is not None:
            self.health = message.health
        warnings = message.display_messages or {}
        if "*" in warnings and warnings["*"] is None:
            self.display_messages.clear()
        for name, warning in warnings.items():
            if warning is None:
                self.display_messages.pop(name, None)
            elif name != "*":
                self.display_messages[name] = warning


def _upgraded(node: Node, *, keep_unset_endpoints: bool = False) -> Node:
    """Old forms made new ones: the DERP string, absent AllowedIPs."""
    changes: dict[str, Any] = {"derp": "", "cap_map": node.cap_map or None}
    if node.derp and not node.home_derp:
        host, _, region = node.derp.rpartition(":")
        if host == "127.3.3.40" and region.isdigit():
            changes["home_derp"] = int(region)
    if node.allowed_ips is UNSET or node.unsigned_peer_api_only:
        changes["allowed_ips"] = node.addresses
    if node.endpoints is UNSET and not keep_unset_endpoints:
        changes["endpoints"] = ()
    return replace(node, **changes)


def _patchified(known: Node, new: Node) -> PeerChange:
    """The patch that a client makes of a whole node. What it cannot express is lost."""
    changes: dict[str, Any] = {"node_id": new.id}
    if new.endpoints is not UNSET and new.endpoints != known.endpoints:
        changes["endpoints"] = new.endpoints
    if new.home_derp != known.home_derp:
        changes["derp_region"] = new.home_derp
    if new.cap_map != known.cap_map:
        changes["cap_map"] = new.cap_map or {}
    if new.key_expiry != known.key_expiry:
        changes["key_expiry"] = new.key_expiry or ZERO_TIME
    for name in ("cap", "key", "key_signature", "disco_key"):
        if getattr(new, name) != getattr(known, name):
            changes[name] = getattr(new, name)
    for name in ("online", "last_seen"):
        was, now = getattr(known, name), getattr(new, name)
        if was is not None and now is not None and was != now:
            changes[name] = now
    return PeerChange(**changes)


def _changes(patch: PeerChange) -> dict[str, Any]:
    """Members of Node that a patch sets."""
    changes: dict[str, Any] = {}
    if patch.derp_region:
        changes["home_derp"] = patch.derp_region
    if patch.cap:
        changes["cap"] = patch.cap
    if patch.key_expiry is not None:
        changes["key_expiry"] = time_or_none(patch.key_expiry)
    if patch.cap_map is not None:
        changes["cap_map"] = patch.cap_map or None
    for name in ("endpoints", "key", "key_signature", "disco_key", "online", "last_seen"):
        if (value := getattr(patch, name)) is not None:
            changes[name] = value
    return changes
