"""Who the sources of an SSH rule are at one state, by owner; renewed only where a bucket changed."""

from collections.abc import Iterable, Mapping
from functools import cached_property

from headscale_saas.policy.atoms import indices
from headscale_saas.policy.members import Bucket, Members, addresses_of
from headscale_saas.tailcfg.ssh import SSHPrincipal
from headscale_saas.tailnet.model import Node, NodeId, User, UserId

Addresses = tuple[str, ...]
Row = tuple[NodeId, UserId | None, Addresses]
Groups = tuple[Row, ...]
"""The sources of one bucket: node, owner, addresses."""
Pieces = Mapping[int, tuple[Bucket, Groups]]
Principals = tuple[SSHPrincipal, ...]


class Everyone:
    """All sources of a rule. `logins` are of the users among them, where they matter. The devices of
    a user are the former state's objects if they are the same.
    """

    def __init__(
        self, groups: Iterable[Groups], users: Mapping[UserId, User], former: "Everyone | None" = None
    ) -> None:
        self._rows = [row for bucket in groups for row in bucket]
        self._of_user: dict[UserId, list[Row]] = {}
        for row in self._rows:
            if row[1] is not None:
                self._of_user.setdefault(row[1], []).append(row)
        self.logins = {owner: users[owner].login_name for owner in self._of_user if owner in users}
        self._made: dict[UserId, Principals] = {}
        self._known = (former._of_user, former._made) if former else ({}, {})

    @cached_property
    def principals(self) -> Principals:
        return _principals(self._rows)

    @cached_property
    def users(self) -> list[UserId]:
        return sorted(self._of_user)

    def of_user(self, user: UserId) -> Principals:
        made = self._made.get(user)
        if made is None:
            rows, (known_rows, known) = self._of_user.get(user, []), self._known
            is_known = user in known and known_rows.get(user, []) == rows
            made = self._made[user] = known[user] if is_known else _principals(rows)
        return made

    @cached_property
    def tagged(self) -> Principals:
        return _principals(row for row in self._rows if row[1] is None)

    def of_node(self, node: NodeId) -> Principals:
        """Its own addresses, each once."""
        addresses = {text for number, _, found in self._rows if number == node for text in found}
        return tuple(SSHPrincipal(node_ip=text) for text in sorted(addresses))


class Sources:
    """`everyone` is the former object as long as nothing of it changed."""

    def __init__(
        self,
        members: Members,
        sources: int,
        postures: int,
        users: Mapping[UserId, User],
        former: "Sources | None",
    ) -> None:
        self._numbers = tuple(indices(sources))
        self._required = tuple(indices(postures))
        known = former._pieces if former else {}
        self._pieces: Pieces = {
            span: self._piece(bucket, known.get(span)) for span, bucket in members.buckets.items()
        }
        self.everyone = self._everyone(users, former)

    def _everyone(self, users: Mapping[UserId, User], former: "Sources | None") -> Everyone:
        if former is not None and self._says_the_same_as(former, users):
            return former.everyone
        groups = (groups for _, groups in self._pieces.values())
        return Everyone(groups, users, former.everyone if former else None)

    def _piece(self, bucket: Bucket, known: tuple[Bucket, Groups] | None) -> tuple[Bucket, Groups]:
        if known is not None and known[0] is bucket:
            return known
        bitmap = bucket.matching(self._numbers)
        if self._required:
            bitmap &= bucket.matching(self._required)
        return bucket, tuple(_row(bucket.nodes[place]) for place in indices(bitmap))

    def _says_the_same_as(self, former: "Sources", users: Mapping[UserId, User]) -> bool:
        logins = former.everyone.logins
        return _rows(self._pieces) == _rows(former._pieces) and all(
            owner in users and users[owner].login_name == login for owner, login in logins.items()
        )


def _rows(pieces: Pieces) -> list[Groups]:
    # Most are the very same objects, which makes the comparison quick.
    return [groups for _, groups in pieces.values() if groups]


def _row(node: Node) -> Row:
    # The recorded service names a node with several tags several times.
    return node.id, node.user_id, addresses_of(node) * max(len(node.tags), 1)


def _principals(rows: Iterable[Row]) -> Principals:
    addresses = sorted(address for _, _, addresses in rows for address in addresses)
    return tuple(SSHPrincipal(node_ip=address) for address in addresses)
