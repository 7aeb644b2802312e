"""The difference of two views, computed from them and from nothing else.

`touched` narrows the search and never decides what is sent. What a class is told is one SharedDelta; a viewer
that is mentioned in it is given the same without itself. What only the viewer is told is one more message.
"""

from collections.abc import Generator

from headscale_saas.netmap.identity import peer_user
from headscale_saas.netmap.members import (
    Members,
    array,
    changed_class_members,
    message,
    own_members,
    own_profile,
)
from headscale_saas.netmap.patch import Way
from headscale_saas.netmap.peers import Fragments, changed_nodes, profile_of
from headscale_saas.netmap.pieces import finished
from headscale_saas.netmap.telling import CHUNK_ITEMS, Items, SharedMessage, Telling
from headscale_saas.netmap.view import ClassView, View
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId, UserId

SharedDelta = tuple[SharedMessage, ...]
"""Messages in order; () = viewers of the class need not be told anything."""


def shared_delta(
    before: ClassView,
    after: ClassView,
    touched: Touched | None = None,
    telling: Telling | None = None,
) -> SharedDelta:
    """What viewers must be told to get from one class view to another, of the same class or of a new one.

    `telling` is of the step that led to `after`.
    """
    return finished(shared_delta_in_steps(before, after, touched, telling))


def shared_delta_in_steps(
    before: ClassView,
    after: ClassView,
    touched: Touched | None = None,
    telling: Telling | None = None,
) -> Generator[None, None, SharedDelta]:
    """The same, with a pause after every 64 peers (some 3 ms), for changes that concern all, and in a packet
    filter that is long."""
    peers = _PeerDelta(before, after, telling or Telling(Fragments()))
    for count, node_id in enumerate(changed_nodes(before, after, touched), 1):
        peers.add(node_id)
        if count % CHUNK_ITEMS == 0:
            yield
    peers.add_profiles(_changed_users(before, after, touched))
    members = yield from changed_class_members(before, after)
    return peers.messages(members)


def own_delta(before: View, after: View) -> bytes | None:
    """What only this viewer must be told: its own row and profile. None = nothing."""
    if _is_own_same(before, after):
        return None
    old = own_members(before)
    members = {name: value for name, value in own_members(after).items() if old.get(name) != value}
    if (profile := own_profile(after)) != own_profile(before):
        members["UserProfiles"] = array([profile])
    return message(members) if members else None


def delta(before: View, after: View, touched: Touched | None = None) -> tuple[bytes, ...]:
    """All messages for one viewer, in order; () if it need not be told anything."""
    own = own_delta(before, after)
    shared = shared_delta(before.of_class, after.of_class, touched)
    texts = (own or b"", *(part.text(without=after.viewer.id) for part in shared))
    return tuple(text for text in texts if text)


class _PeerDelta:
    """Collects the peers' part of a delta. Peers must be added in order of id."""

    def __init__(self, before: ClassView, after: ClassView, telling: Telling) -> None:
        self._before = before
        self._after = after
        self._telling = telling
        self._fragments = telling.fragments
        self._removed_first: Items = {}
        self._removed: Items = {}
        self._changed: Items = {}
        self._patches: Items = {}
        self._profiles: dict[UserId, bytes] = {}

    def add(self, node_id: NodeId) -> None:
        was, now = self._before.visible(node_id), self._after.visible(node_id)
        if now is not None:
            self._appear(now) if was is None else self._change(was, now)
        elif was is not None:
            self._removed[node_id] = encode(node_id)

    def add_profiles(self, user_ids: set[UserId]) -> None:
        """Profiles that changed, of users behind visible peers."""
        if not user_ids:
            return
        after = self._after
        nodes = map(after.visible, after.peers())
        shown = {peer_user(node) for node in nodes if node is not None}
        for user_id in sorted(user_ids & shown):
            self._profiles[user_id] = self._fragments.profile(after, user_id)

    def messages(self, members: Members) -> SharedDelta:
        if self._profiles:
            members["UserProfiles"] = array(list(self._profiles.values()))
        arrays = {
            "PeersRemoved": self._removed,
            "PeersChanged": self._changed,
            "PeersChangedPatch": self._patches,
        }
        messages = []
        if self._removed_first:
            messages.append(self._telling.message({"PeersRemoved": self._removed_first}, {}))
        if members or any(arrays.values()):
            messages.append(self._telling.message(arrays, members))
        return tuple(messages)

    def _appear(self, now: Node) -> None:
        self._changed[now.id] = self._fragments.peer(self._after, now)
        self._tell_user(now)

    def _change(self, was: Node, now: Node) -> None:
        change = self._telling.change(self._before, was, self._after, now)
        if change.patch:
            self._patches[now.id] = change.patch
        if change.how in (Way.SAME, Way.PATCH):
            return
        if change.how is Way.AGAIN:
            self._removed_first[now.id] = encode(now.id)
        self._changed[now.id] = self._fragments.peer(self._after, now)
        if change.is_of_other_user:
            self._tell_user(now)

    def _tell_user(self, node: Node) -> None:
        user_id = peer_user(node)
        self._profiles[user_id] = self._fragments.profile(self._after, user_id)


def _changed_users(before: ClassView, after: ClassView, touched: Touched | None) -> set[UserId]:
    """Users whose profile differs."""
    old, new = before.state.users, after.state.users
    if old is new:
        return set()
    candidates = touched.users if touched is not None else old.keys() | new.keys()
    moved = {user_id for user_id in candidates if old.get(user_id) is not new.get(user_id)}
    return {user_id for user_id in moved if profile_of(before, user_id) != profile_of(after, user_id)}


def _is_own_same(before: View, after: View) -> bool:
    """A quick answer for the many sessions that a change does not concern."""
    old, new = before.of_class.state, after.of_class.state
    node = after.viewer
    return (
        before.viewer is node
        and old.tailnet.settings == new.tailnet.settings
        and (node.user_id is None or old.users.get(node.user_id) is new.users.get(node.user_id))
        and _is_policy_same(before, after)
    )


def _is_policy_same(before: View, after: View) -> bool:
    old, new, node = before.of_class.compiled, after.of_class.compiled, after.viewer
    return old is new or (
        old.served_routes(node) == new.served_routes(node)
        and old.node_attributes(node) == new.node_attributes(node)
        and old.hides_ipv4(before.of_class.audience, node) == new.hides_ipv4(after.of_class.audience, node)
    )
