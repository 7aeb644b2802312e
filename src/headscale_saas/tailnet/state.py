"""All rows of one tailnet at one version.

A state never changes; `replace` makes the next one and shares every untouched row with it, so two
states can be compared row by row with `is`.
"""

from collections.abc import Mapping
from typing import Self, TypeVar

from headscale_saas.tailnet.model import Node, NodeId, Tailnet, User, UserId, Version

K = TypeVar("K", bound=int)
V = TypeVar("V")


class TailnetState:
    """`nodes` and `users` by id, in ascending order of id. Treat as immutable."""

    __slots__ = ("nodes", "policy_text", "tailnet", "users")

    def __init__(
        self,
        tailnet: Tailnet,
        nodes: Mapping[NodeId, Node],
        users: Mapping[UserId, User],
        policy_text: str | None = None,
    ) -> None:
        self.tailnet = tailnet
        self.nodes = nodes
        self.users = users
        self.policy_text = policy_text

    @property
    def version(self) -> Version:
        return self.tailnet.version

    def replace(
        self,
        tailnet: Tailnet,
        nodes: Mapping[NodeId, Node | None],
        users: Mapping[UserId, User | None],
        policy_text: str | None,
    ) -> Self:
        """The state with these rows put in; None stands for a deleted row."""
        return type(self)(tailnet, _with_rows(self.nodes, nodes), _with_rows(self.users, users), policy_text)


def _with_rows(rows: Mapping[K, V], changes: Mapping[K, V | None]) -> Mapping[K, V]:
    if not changes:
        return rows
    result = dict(rows)
    is_sorted = True
    for key in sorted(changes):
        row = changes[key]
        if row is None:
            result.pop(key, None)
            continue
        # A new row usually has the highest id so far; only then does insertion keep the order.
        is_sorted = is_sorted and (key in result or not result or key > next(reversed(result)))
        result[key] = row
    return result if is_sorted else dict(sorted(result.items()))
