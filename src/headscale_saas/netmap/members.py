"""Members of a map message as JSON: those that all nodes of a tailnet are told, and those of one node."""

from headscale_saas.netmap.dns import dns_config
from headscale_saas.netmap.identity import self_profile
from headscale_saas.netmap.rows import self_row
from headscale_saas.netmap.view import ClassView, View
from headscale_saas.policy import Filters
from headscale_saas.tailcfg.capver import DEFAULT_AUTO_UPDATE_CAP
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.filters import FilterRule
from headscale_saas.tailcfg.maps import Debug

Members = dict[str, bytes]
"""Member name -> JSON value."""


def message(members: Members) -> bytes:
    """One JSON object."""
    return b"{" + inside(members) + b"}"


def inside(members: Members) -> bytes:
    return b",".join(b'"' + name.encode() + b'":' + value for name, value in members.items())


def array(items: list[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def common_members(view: ClassView) -> Members:
    """What every node of the tailnet is told alike."""
    settings = view.state.tailnet.settings
    members = {
        "DERPMap": view.environment.derp_map_json,
        "DNSConfig": encode(dns_config(settings)),
        "Domain": encode(view.environment.domain),
        "CollectServices": b"false",
    }
    if not settings.client_logs:
        members["Debug"] = encode(Debug(disable_log_tail=True))
    return members


def changed_common_members(before: ClassView, after: ClassView) -> Members:
    """The common members that differ. (Logging that was once turned off stays off in a running client.)"""
    is_same = before.state.tailnet.settings == after.state.tailnet.settings
    if is_same and before.environment is after.environment:
        return {}
    old = common_members(before)
    return {name: value for name, value in common_members(after).items() if old.get(name) != value}


def own_members(view: View) -> Members:
    """What only this node is told, but for the packet filter."""
    state, compiled, node = view.of_class.state, view.of_class.compiled, view.viewer
    settings = state.tailnet.settings
    owner = None if node.user_id is None else state.users.get(node.user_id)
    row = self_row(node, settings, owner, compiled.served_routes(node), compiled.node_attributes(node))
    members = {"Node": encode(row), "SSHPolicy": encode(compiled.ssh_policy(node))}
    if node.capver < DEFAULT_AUTO_UPDATE_CAP:
        members["DefaultAutoUpdate"] = encode(settings.auto_update)
    return members


def own_profile(view: View) -> bytes:
    return encode(self_profile(view.of_class.state, view.viewer))


def all_filters(filters: Filters) -> bytes:
    """The whole packet filter; `"*": null` forgets whatever the client had before."""
    return encode({"*": None, **filters})


def changed_filters(before: Filters, after: Filters) -> bytes | None:
    """The named chunks that differ, null for those that are gone; None if none does."""
    if before is after:
        return None
    changes: dict[str, tuple[FilterRule, ...] | None] = dict.fromkeys(before.keys() - after.keys())
    changes |= {name: rules for name, rules in after.items() if before.get(name) != rules}
    return encode(changes) if changes else None
