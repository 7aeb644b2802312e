"""The port to the tailnet's policy, as far as verbs need it: tags, and routes that need no admin."""

from collections.abc import Callable, Iterable
from typing import Protocol

from headscale_saas.tailnet.model import IPNetwork, TailnetId, User, Version


class Approvals(Protocol):
    """The part of a compiled policy that decides about writes. Good for one version of the tailnet."""

    @property
    def version(self) -> Version: ...

    def has_tag(self, tag: str) -> bool:
        """Whether the policy knows the tag at all (`tagOwners`)."""
        ...

    def may_have_tags(self, user: User | None, held: Iterable[str], wanted: Iterable[str]) -> bool:
        """Whether this owner (a user, or a node that holds tags already) may take the wanted tags."""
        ...

    def approves_route(self, route: IPNetwork, user: User | None, tags: Iterable[str]) -> bool:
        """Whether the route of a node with this owner needs no admin (`autoApprovers`)."""
        ...


PolicyOf = Callable[[TailnetId], Approvals | None]
"""The compiled policy this process holds for a tailnet; None: it holds none, or the tailnet has none."""


def no_policy(_tailnet: TailnetId) -> Approvals | None:
    """For programs that compile no policies: nobody may ask for tags, every route needs an admin."""
    return None
