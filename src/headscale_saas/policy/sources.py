"""Who the sources of each rule are at one state: addresses, in pieces that stay while others change.

A piece has the nodes of one span of 32 ids (its name is the number of the span, in hexadecimal), or what is
no node (`x`), or a user's own nodes (`u`). So when a node joins, one piece of each rule that it is a source
of is made anew.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from itertools import chain
from typing import NamedTuple

from headscale_saas.policy import spans
from headscale_saas.policy.atoms import indices
from headscale_saas.policy.language.selectors import ANY, DANGER_ALL, Selector
from headscale_saas.policy.members import BUCKET_BITS, Addresses, Bucket, Members
from headscale_saas.policy.program import Program
from headscale_saas.policy.reach import RuleSet
from headscale_saas.policy.rules import Rule
from headscale_saas.policy.spans import Spans
from headscale_saas.tailnet.model import DEFAULT_PREFIX_V4, DEFAULT_PREFIX_V6, Settings, UserId

MOST_PIECES = 16384
"""Of all rules together, for all ids so far: where there could be more, a piece spans more ids."""

NO_NODES = "x"
OWN_NODES = "u"
EVERYBODY: Addresses = ("*",)

Pieces = Mapping[str, Addresses]
"""By name; none is empty."""


class Surroundings(NamedTuple):
    """What sources depend on besides the members: the tailnet's own `space`, and the subnet routes that are
    `live`. One piece spans as many ids as `width` bits can tell apart."""

    space: Spans
    live: Addresses
    width: int


def space_of(settings: Settings) -> Spans:
    """Where nodes have their addresses: what `*` means as a source."""
    given = (prefix for prefix in (settings.prefix_v4, settings.prefix_v6) if prefix is not None)
    elsewhere = spans.difference(spans.of(given), spans.of((DEFAULT_PREFIX_V4, DEFAULT_PREFIX_V6)))
    return spans.union((spans.TAILNET, elsewhere))


def width_for(rules: int, last_bucket: int) -> int:
    """At least that of the members' buckets; it grows only when the number of the last bucket gets longer."""
    most = max(MOST_PIECES // max(rules, 1), 1)
    return BUCKET_BITS + max(0, last_bucket.bit_length() - most.bit_length() + 1)


class Sources:
    """Pieces are made when they are first asked for; where nothing changed, they are the former objects."""

    def __init__(self, program: Program, members: Members, around: Surroundings) -> None:
        self._program = program
        self._members = members
        self._around = around
        self._known: dict[tuple[int, UserId | None], Pieces] = {}
        self._former: dict[tuple[int, UserId | None], Pieces] = {}

    def advanced(
        self, members: Members, around: Surroundings, stale: RuleSet, users: frozenset[UserId]
    ) -> "Sources":
        """For the next state. `stale` are the rules, and `users` the owners, of nodes that changed."""
        after = Sources(self._program, members, around)
        if around != self._around:
            stale, users = -1, frozenset(members.of_user)
        after._former = dict(self._former)
        for key, pieces in self._known.items():
            is_stale = stale >> key[0] & 1 and (key[1] is None or key[1] in users)
            (after._former if is_stale else after._known)[key] = pieces
        return after

    def is_known(self, rule: int, user: UserId | None) -> bool:
        """Whether nothing has to be made."""
        return (rule, user) in self._known

    def of(self, rule: int, user: UserId | None) -> Pieces:
        """The sources of the rule; of a rule to a user's own nodes those that are the user's."""
        key = rule, user
        pieces = self._known.get(key)
        if pieces is None:
            pieces, former = self._made(self._program.rules[rule], user), self._former.pop(key, None)
            self._known[key] = pieces = former if former == pieces else pieces
        return pieces

    def _made(self, rule: Rule, user: UserId | None) -> Pieces:
        if user is not None:
            return _filled({OWN_NODES: self._of_user(rule, user)})
        if DANGER_ALL in rule.sources and not rule.postures:
            return {NO_NODES: EVERYBODY}
        return _filled({NO_NODES: tuple(sorted(set(self._no_nodes(rule)))), **self._of_nodes(rule)})

    def _of_user(self, rule: Rule, user: UserId) -> Addresses:
        """A user's nodes that have the postures: the sources name users, so the rest is decided."""
        postures = tuple(indices(rule.postures))
        texts: list[str] = []
        for node_id in self._members.of_user.get(user, ()):
            bucket = self._members.buckets.get(node_id >> BUCKET_BITS)
            place = 1 << (node_id & ((1 << BUCKET_BITS) - 1))
            if bucket is not None and (not postures or bucket.matching(postures) & place):
                texts += bucket.addresses(place & bucket.all)
        return tuple(texts)

    def _no_nodes(self, rule: Rule) -> Iterator[str]:
        """Texts of addresses whoever has them; where postures count, only those that no node can have."""
        for selector in rule.sources:
            if selector == ANY:
                yield from self._around.live
            pieces = self._literal(selector)
            yield from map(spans.spelled, self._foreign(pieces) if rule.postures else pieces)

    def _literal(self, selector: Selector) -> Spans:
        if selector == ANY:
            return self._around.space
        if selector == DANGER_ALL:
            return spans.EVERYTHING
        return self._program.literals.spans(selector)

    def _foreign(self, pieces: Spans) -> Spans:
        return spans.difference(pieces, self._around.space)

    def _of_nodes(self, rule: Rule) -> Pieces:
        names = self._program.atoms
        if not rule.postures and ANY in rule.sources:
            return {}
        numbers = tuple(indices(rule.source_mask & ~names.literal))
        shift = self._around.width - BUCKET_BITS
        found: dict[str, list[Addresses]] = {}
        for span, bucket in self._members.buckets.items():
            if addresses := self._of_bucket(rule, bucket, numbers):
                found.setdefault(f"{span >> shift:x}", []).append(addresses)
        return {name: one[0] if len(one) == 1 else tuple(chain(*one)) for name, one in found.items()}

    def _of_bucket(self, rule: Rule, bucket: Bucket, numbers: Iterable[int]) -> Addresses:
        named = bucket.matching(numbers)
        if not rule.postures:
            return bucket.addresses(named) if named else ()
        held = bucket.matching(indices(rule.postures))
        return bucket.addresses(named & held) + self._within_literals(rule, bucket, held & ~named)

    def _within_literals(self, rule: Rule, bucket: Bucket, places: int) -> Addresses:
        """Of nodes that no selector names: those of their addresses that are named themselves."""
        literals = rule.source_mask & self._program.atoms.literal
        places &= bucket.matching(indices(literals))
        if not places:
            return ()
        named = spans.union(self._literal(selector) for selector in rule.sources)
        return tuple(
            text for text in bucket.addresses(places) if spans.contains(named, spans.number(ip_address(text)))
        )


def _filled(pieces: Pieces) -> Pieces:
    return {name: addresses for name, addresses in pieces.items() if addresses}
