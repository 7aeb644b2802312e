"""Members of a map message as JSON: those told to a whole tailnet, to a class of viewers, and to one node.

A policy may make a packet filter of megabytes, so what depends on it is made in steps of about a millisecond.
"""

from collections.abc import Generator, Iterable, Iterator
from operator import is_

from headscale_saas.netmap.dns import dns_config
from headscale_saas.netmap.identity import self_profile
from headscale_saas.netmap.pieces import LONG, finished
from headscale_saas.netmap.rows import self_row
from headscale_saas.netmap.view import ClassView, View
from headscale_saas.policy import changed_chunks
from headscale_saas.tailcfg.capver import DEFAULT_AUTO_UPDATE_CAP
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.maps import Debug
from headscale_saas.tailcfg.ssh import SSHPolicy

Members = dict[str, bytes]
"""Member name -> JSON value."""

MembersInSteps = Generator[None, None, Members]


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
        "DERPMap": view.environment.derp_map_with(view.compiled.relays),
        "DNSConfig": encode(dns_config(settings)),
        "Domain": encode(view.environment.domain),
        "CollectServices": b"false",
    }
    if not settings.client_logs:
        members["Debug"] = encode(Debug(disable_log_tail=True))
    return members


def changed_common_members(before: ClassView, after: ClassView) -> Members:
    """The common members that differ. (Logging that was once turned off stays off in a running client.)"""
    if same(_common_facts(before), _common_facts(after)):
        return {}
    old = common_members(before)
    return {name: value for name, value in common_members(after).items() if old.get(name) != value}


def _common_facts(view: ClassView) -> tuple[object, ...]:
    """All that the common members depend on."""
    return view.state.tailnet.settings, view.environment, view.compiled.relays


def class_members(view: ClassView) -> Members:
    """What all viewers of the class are told alike, besides peers: also what may come in at them."""
    return finished(class_members_in_steps(view))


def class_members_in_steps(view: ClassView) -> MembersInSteps:
    members = common_members(view)
    filters = view.compiled.filters(view.audience)
    members["PacketFilters"] = yield from _object((("*", None), *filters.items()))
    members["SSHPolicy"] = yield from _ssh_policy(view.compiled.ssh_policy(view.audience))
    return members


def class_facts(view: ClassView) -> tuple[object, ...]:
    """The same objects for two views of a class: then their class members are equal."""
    rules = view.compiled.filters(view.audience), view.compiled.ssh_policy(view.audience)
    return (*_common_facts(view), *rules)


def changed_class_members(before: ClassView, after: ClassView) -> MembersInSteps:
    """The class members that differ; of the packet filter only the named chunks that do, null for those that
    are gone."""
    members = changed_common_members(before, after)
    filters = before.compiled.filters(before.audience), after.compiled.filters(after.audience)
    if changes := changed_chunks(*filters):
        members["PacketFilters"] = yield from _object(changes.items())
    old, new = before.compiled.ssh_policy(before.audience), after.compiled.ssh_policy(after.audience)
    if old is not new and old != new:
        members["SSHPolicy"] = yield from _ssh_policy(new)
    return members


def own_members(view: View) -> Members:
    """What only this node is told."""
    state, compiled, node = view.of_class.state, view.of_class.compiled, view.viewer
    settings = state.tailnet.settings
    owner = None if node.user_id is None else state.users.get(node.user_id)
    hides_ipv4 = compiled.hides_ipv4(view.of_class.audience, node)
    routes, attributes = compiled.served_routes(node), compiled.node_attributes(node)
    row = self_row(node, settings, owner, routes, attributes, hides_ipv4=hides_ipv4)
    members = {"Node": encode(row)}
    if node.capver < DEFAULT_AUTO_UPDATE_CAP:
        members["DefaultAutoUpdate"] = encode(settings.auto_update)
    return members


def own_profile(view: View) -> bytes:
    return encode(self_profile(view.of_class.state, view.viewer))


def same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether they hold the very same objects: to compare what is in them would take longer."""
    return len(one) == len(other) and all(map(is_, one, other))


def _object(items: Iterable[tuple[str, object]]) -> Generator[None, None, bytes]:
    texts = yield from _in_steps(encode(name) + b":" + encode(value) for name, value in items)
    return b"{" + b",".join(texts) + b"}"


def _ssh_policy(policy: SSHPolicy) -> Generator[None, None, bytes]:
    rules = yield from _in_steps(map(encode, policy.rules))
    return b'{"rules":' + array(rules) + b"}"


def _in_steps(texts: Iterator[bytes]) -> Generator[None, None, list[bytes]]:
    """A pause after every 128 KiB."""
    made: list[bytes] = []
    left = LONG
    for text in texts:
        made.append(text)
        left -= len(text)
        if left < 0:
            yield
            left = LONG
    return made
