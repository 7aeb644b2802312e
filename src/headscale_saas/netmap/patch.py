"""The smallest way to turn one peer into another one on a client, minding what clients lose.

Clients diff a whole node they are sent against the one they know and turn it into a patch if they can; such a
patch cannot say that a value vanished (control-protocol 5.5). And a patch that brings a disco key together
with "offline" is dropped if its LastSeen is not news.
"""

from enum import Enum

from msgspec.structs import fields

from headscale_saas.tailcfg.codec import ZERO_TIME
from headscale_saas.tailcfg.maps import PeerChange
from headscale_saas.tailcfg.node import Node

PATCHABLE = frozenset(
    {
        "cap",
        "cap_map",
        "disco_key",
        "endpoints",
        "home_derp",
        "key",
        "key_expiry",
        "key_signature",
        "last_seen",
        "online",
    }
)
CANNOT_VANISH = ("cap", "disco_key", "home_derp", "key", "key_signature", "last_seen", "online")
"""Patchable, but a patch cannot take them away."""

LOST_WITH_ENDPOINTS = frozenset({"disco_key", "last_seen", "online"})

_FIELDS = tuple(field.name for field in fields(Node))


class Way(Enum):
    """How a peer's change is told."""

    SAME = "same"
    PATCH = "patch"
    WHOLE = "whole"
    AGAIN = "again"
    """Removed in one message, added in the next: else the client would lose a part."""


def way(was: Node, now: Node) -> Way:
    """How to tell the change from one form of a peer to another."""
    changed = changed_fields(was, now)
    if not changed:
        return Way.SAME
    if not changed <= PATCHABLE:
        return Way.WHOLE
    if any(name in changed and not getattr(now, name) and name != "online" for name in CANNOT_VANISH):
        return Way.AGAIN
    if "endpoints" in changed and not now.endpoints:
        # Old clients may not understand an empty list in a patch; the whole node has it too.
        return Way.AGAIN if changed & LOST_WITH_ENDPOINTS else Way.WHOLE
    return Way.PATCH


def changed_fields(was: Node, now: Node) -> set[str]:
    return {name for name in _FIELDS if getattr(was, name) != getattr(now, name)}


def patches(was: Node, now: Node) -> list[PeerChange]:
    """The change as one patch, or two where a disco key must travel alone."""
    changed = changed_fields(was, now)
    rest = changed - {"disco_key"}
    if "disco_key" not in changed:
        return [_patch(now, rest)]
    if changed & {"online", "last_seen"} and not now.online:
        return [disco_patch(now), *([_patch(now, rest)] if rest else [])]
    return [_patch(now, changed)]


def disco_patch(now: Node) -> PeerChange:
    """The disco key alone, which no client drops."""
    return PeerChange(node_id=now.id, disco_key=now.disco_key)


def needs_disco_patch(was: Node, now: Node) -> bool:
    """Whether a client may keep the old disco key although it is sent the whole node."""
    return was.disco_key != now.disco_key and not now.online


def _patch(now: Node, changed: set[str]) -> PeerChange:
    return PeerChange(
        node_id=now.id,
        derp_region=now.home_derp if "home_derp" in changed else 0,
        cap=now.cap if "cap" in changed else 0,
        cap_map=(now.cap_map or {}) if "cap_map" in changed else None,
        endpoints=(now.endpoints or ()) if "endpoints" in changed else None,
        key=now.key if "key" in changed else None,
        key_signature=now.key_signature if "key_signature" in changed else None,
        disco_key=now.disco_key if "disco_key" in changed else None,
        online=now.online if "online" in changed else None,
        last_seen=now.last_seen if "last_seen" in changed else None,
        key_expiry=(now.key_expiry or ZERO_TIME) if "key_expiry" in changed else None,
    )
