"""What a registration came to. The control door words it (`tailcfg.register.RegisterResponse`)."""

import msgspec

from headscale_saas.tailnet.model import Node, TailnetId, User, Version


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """The device is the node now, as of this version. `user` is None for a tagged node."""

    tailnet: TailnetId
    version: Version
    node: Node
    user: User | None


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A person has to approve. The door builds the AuthURL from the id, which is a secret."""

    login_id: str


class KeyExpired(msgspec.Struct, frozen=True, kw_only=True):
    """The node key is spent: the client makes a new one and comes back."""


class LoggedOut(msgspec.Struct, frozen=True, kw_only=True):
    """The logout took place, or there was nothing to log out."""


class Declined(msgspec.Struct, frozen=True, kw_only=True):
    """No. `message` is for the person in front of the client (HTTP 200 and the member `Error`)."""

    message: str


Outcome = Registered | Pending | KeyExpired | LoggedOut | Declined
