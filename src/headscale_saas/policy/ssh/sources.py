"""Who the sources of SSH rules are at one state, by owner; renewed only where a bucket changed."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from headscale_saas.policy.atoms import indices
from headscale_saas.policy.buckets import Bucket
from headscale_saas.policy.members import Members
from headscale_saas.tailcfg.ssh import SSHPrincipal
from headscale_saas.tailnet.model import Node, NodeId, User, UserId

Row = tuple[NodeId, UserId | None, tuple[str, ...], int]
"""Node, owner, addresses, how many tags."""
Principals = tuple[SSHPrincipal, ...]


class Piece(NamedTuple):
    """The sources of one bucket."""

    bucket: Bucket
    bitmap: int
    rows: tuple[Row, ...]


class Everyone:
    """All sources of some rules. A user's devices are the former state's objects if they are the same."""

    def __init__(self, pieces: Iterable[Piece], former: "Everyone | None" = None) -> None:
        self._rows = [row for piece in pieces for row in piece.rows]
        self._of_user: dict[UserId, list[Row]] = {}
        for row in self._rows:
            if row[1] is not None:
                self._of_user.setdefault(row[1], []).append(row)
        self._made: dict[UserId, Principals] = {}
        self._known = (former._of_user, former._made) if former else ({}, {})

    @cached_property
    def principals(self) -> Principals:
        """In the order of strings."""
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

    @property
    def printed(self) -> Principals:
        """The real service names a node with several tags several times."""
        return _principals(self._rows, repeated=True)

    @property
    def printed_tagged(self) -> Principals:
        return _principals((row for row in self._rows if row[1] is None), repeated=True)

    def __len__(self) -> int:
        return sum(len(row[2]) for row in self._rows)


Known = tuple[Mapping[int, Piece], Everyone]


class SourceSets:
    """All of one state. A set is the former state's object as long as nothing of it changed."""

    def __init__(
        self, members: Members, users: Mapping[UserId, User], former: "SourceSets | None" = None
    ) -> None:
        self._buckets = members.buckets
        self._users = users
        self._alike: dict[tuple[int, ...], Known] = {}
        self._sets: dict[tuple[int, int], Known] = {}
        self._former: dict[tuple[int, int], Known] = former._former | former._sets if former else {}

    def login(self, user: UserId) -> str:
        row = self._users.get(user)
        return row.login_name if row is not None else ""

    def of(self, sources: int, postures: int = 0) -> Everyone:
        """The nodes that any of the selectors contains and that have any of the postures (0 = no matter)."""
        key = sources, postures
        known = self._sets.get(key)
        if known is None:
            known = self._sets[key] = self._found(key)
        return known[1]

    def _found(self, key: tuple[int, int]) -> Known:
        bitmaps = self._bitmaps(*key)
        alike = self._alike.get(bitmaps)
        if alike is None:
            alike = self._alike[bitmaps] = self._made(bitmaps, self._former.get(key))
        return alike

    def _bitmaps(self, sources: int, postures: int) -> tuple[int, ...]:
        """Of each bucket. Sets of rules with other words for the same nodes are found to be the same here."""
        numbers, required = tuple(indices(sources)), tuple(indices(postures))
        found = (bucket.matching(numbers) for bucket in self._buckets.values())
        if not required:
            return tuple(found)
        pairs = zip(found, self._buckets.values(), strict=True)
        return tuple(bitmap and bitmap & bucket.matching(required) for bitmap, bucket in pairs)

    def _made(self, bitmaps: tuple[int, ...], former: Known | None) -> Known:
        known: Mapping[int, Piece] = former[0] if former else {}
        pieces = {
            span: _piece(bucket, bitmap, known.get(span))
            for (span, bucket), bitmap in zip(self._buckets.items(), bitmaps, strict=True)
            if bitmap
        }
        if former is not None and _rows(pieces) == _rows(known):
            return pieces, former[1]
        return pieces, Everyone(pieces.values(), former[1] if former else None)


def _piece(bucket: Bucket, bitmap: int, known: Piece | None) -> Piece:
    if known is not None and known.bucket is bucket and known.bitmap == bitmap:
        return known
    rows = {row[0]: row for row in known.rows} if known is not None else {}
    nodes = known.bucket.nodes if known is not None else {}
    found = (
        row
        if node is nodes.get(place) and (row := rows.get(node.id))
        else _row(node, bucket.addresses_at(place))
        for place, node in ((place, bucket.nodes[place]) for place in indices(bitmap))
    )
    return Piece(bucket, bitmap, tuple(found))


def _rows(pieces: Mapping[int, Piece]) -> list[tuple[Row, ...]]:
    # Most are the very same objects, which makes the comparison quick.
    return [piece.rows for piece in pieces.values()]


def _row(node: Node, addresses: tuple[str, ...]) -> Row:
    return node.id, node.user_id, addresses, len(node.tags)


def _principals(rows: Iterable[Row], *, repeated: bool = False) -> Principals:
    texts = (text * max(tags, 1) if repeated else text for _, _, text, tags in rows)
    return tuple(SSHPrincipal(node_ip=address) for address in sorted(chain.from_iterable(texts)))
