"""Names of nodes, and who stands behind them.

A tagged node belongs to nobody. As a peer its `User` is one pseudo user for all; as itself, one that only
it has: clients take an equal `User` for "the same owner" and would trust each other's devices.
"""

from headscale_saas.tailcfg.node import UserProfile
from headscale_saas.tailnet.model import Node, Settings, User, UserId
from headscale_saas.tailnet.state import TailnetState

TAGGED_DEVICES = UserId((1 << 53) - 1)
TAGGED_SELF_BASE = 1 << 52
"""Wire user ids from here on are reserved; ids of people count from 1. All stay below 2**53."""

TAGGED_PROFILE = UserProfile(id=TAGGED_DEVICES, login_name="tagged-devices", display_name="Tagged Devices")


def full_name(node: Node, settings: Settings) -> str:
    """`label.suffix.`, with the dot at its end."""
    return f"{node.name}.{settings.base_domain}." if settings.base_domain else f"{node.name}."


def peer_user(node: Node) -> UserId:
    """`User` of a node as its peers are told."""
    return TAGGED_DEVICES if node.user_id is None else node.user_id


def self_user(node: Node) -> UserId:
    """`User` of a node as itself is told."""
    return UserId(TAGGED_SELF_BASE + node.id) if node.user_id is None else node.user_id


def peer_profile(state: TailnetState, user_id: UserId) -> UserProfile:
    """The profile of a peer's `User`. A user without a row is told by number: no peer may lack a profile."""
    if user_id == TAGGED_DEVICES:
        return TAGGED_PROFILE
    user = state.users.get(user_id)
    return unknown_profile(user_id) if user is None else user_profile(user)


def self_profile(state: TailnetState, node: Node) -> UserProfile:
    """The profile of the viewer's own `User`; its login name is never empty, or clients forget it."""
    if node.user_id is not None:
        return peer_profile(state, node.user_id)
    name = full_name(node, state.tailnet.settings).rstrip(".")
    return UserProfile(id=self_user(node), login_name=name, display_name=name)


def user_profile(user: User) -> UserProfile:
    return UserProfile(
        id=user.id,
        login_name=user.login_name,
        display_name=user.display_name or user.login_name,
        profile_pic_url=user.picture_url,
    )


def unknown_profile(user_id: UserId) -> UserProfile:
    return UserProfile(id=user_id, login_name=f"user-{user_id}", display_name=f"user-{user_id}")
