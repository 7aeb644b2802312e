"""Who the sources of each rule are at one state: addresses, in pieces that stay while others change.

A piece has the nodes of one bucket (its name is the bucket's number, in hexadecimal), or what is no node
(`x`), or a user's own nodes (`u`). So when a node joins, one piece of each rule that it is a source
of is made anew.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple
from weakref import ref

from headscale_saas.policy import spans
from headscale_saas.policy.atoms import indices
from headscale_saas.policy.buckets import Addresses, Bucket
from headscale_saas.policy.language.selectors import ANY, DANGER_ALL, Selector
from headscale_saas.policy.members import Members
from headscale_saas.policy.program import Program
from headscale_saas.policy.reach import RuleSet
from headscale_saas.policy.rules import Rule
from headscale_saas.policy.spans import Spans
from headscale_saas.tailnet.model import DEFAULT_PREFIX_V4, DEFAULT_PREFIX_V6, IPNetwork, UserId

NO_NODES = "x"
OWN_NODES = "u"
EVERYBODY: Addresses = ("*",)

Key = tuple[int, UserId | None]
"""A rule; of a rule to a user's own nodes also the user."""

Numbers = set[int]


class Surroundings(NamedTuple):
    """What sources depend on besides the members: the tailnet's own `space`, and the subnet routes that are
    `live`."""

    space: Spans
    live: Addresses


@lru_cache(maxsize=64)
def space_of(v4: IPNetwork | None, v6: IPNetwork | None) -> Spans:
    """Where nodes have their addresses, given the tailnet's prefixes: what `*` means as a source."""
    given = (prefix for prefix in (v4, v6) if prefix is not None)
    elsewhere = spans.difference(spans.of(given), spans.of((DEFAULT_PREFIX_V4, DEFAULT_PREFIX_V6)))
    return spans.union((spans.TAILNET, elsewhere))


class Pieces:
    """`addresses` by name of the piece; none is empty. `renewed` are the names whose addresses differ from
    those of `former`, or are only there or only here."""

    __slots__ = ("__weakref__", "_former", "addresses", "renewed")

    def __init__(self, addresses: Mapping[str, Addresses], former: "Pieces | None") -> None:
        self.addresses = addresses
        known = former.addresses if former else {}
        names = known.keys() | addresses.keys()
        self.renewed = frozenset(name for name in names if known.get(name) != addresses.get(name))
        self._former = ref(former) if former else None

    def is_after(self, other: "Pieces") -> bool:
        """Whether the other is the former."""
        return self._former is not None and self._former() is other


class Sources:
    """Pieces are made when they are first asked for; where nothing changed, they are the former objects."""

    def __init__(self, program: Program, members: Members, around: Surroundings) -> None:
        self._program = program
        self._members = members
        self._around = around
        self._known: dict[Key, Pieces] = {}
        self._outdated: dict[Key, tuple[Pieces, Numbers | None]] = {}

    def advanced(
        self, members: Members, around: Surroundings, stale: RuleSet, users: frozenset[UserId]
    ) -> "Sources":
        """For the next state. `stale` are the rules, and `users` the owners, of nodes that changed."""
        after = Sources(self._program, members, around)
        if around != self._around or members.bits != self._members.bits:
            after._outdated = {key: (pieces, None) for key, (pieces, _) in self._outdated.items()}
            after._outdated |= {key: (pieces, None) for key, pieces in self._known.items()}
            return after
        changed = {node_id >> members.bits for node_id in members.changed}
        for key, (pieces, numbers) in self._outdated.items():
            after._outdated[key] = pieces, None if numbers is None else numbers | changed
        after._known = dict(self._known)
        for key in self._keys(stale, users):
            if (known := after._known.pop(key, None)) is not None:
                after._outdated[key] = known, changed
        return after

    def _keys(self, stale: RuleSet, users: frozenset[UserId]) -> Iterator[Key]:
        for rule in indices(stale):
            owners = users if self._program.rules[rule].is_self else (None,)
            yield from ((rule, owner) for owner in owners)

    @property
    def outdated(self) -> Collection[Key]:
        """Whose pieces have to be looked at again."""
        return self._outdated.keys()

    def of(self, rule: int, user: UserId | None) -> Pieces:
        """The sources of the rule; of a rule to a user's own nodes those that are the user's."""
        key = rule, user
        pieces = self._known.get(key)
        if pieces is None:
            former, numbers = self._outdated.pop(key, (None, None))
            addresses = self._addresses(self._program.rules[rule], user, former, numbers)
            pieces = Pieces(addresses, former)
            pieces = self._known[key] = former if former and not pieces.renewed else pieces
        return pieces

    def _addresses(
        self, rule: Rule, user: UserId | None, former: Pieces | None, numbers: Numbers | None
    ) -> Mapping[str, Addresses]:
        """`numbers` are those of the former pieces in which something changed; None = anywhere."""
        if user is not None:
            return _filled({OWN_NODES: self._of_user(rule, user)})
        if former and numbers is not None:
            renewed = self._of_nodes(rule, numbers)
            gone = {f"{number:x}" for number in numbers} - renewed.keys()
            kept = former.addresses.items()
            return {name: one for name, one in kept if name not in gone} | renewed
        if DANGER_ALL in rule.sources and not rule.postures:
            return {NO_NODES: EVERYBODY}
        no_nodes = tuple(sorted(set(self._no_nodes(rule))))
        return _filled({NO_NODES: no_nodes, **self._of_nodes(rule, self._members.buckets)})

    def _of_user(self, rule: Rule, user: UserId) -> Addresses:
        """A user's nodes that have the postures: the sources name users, so the rest is decided."""
        postures = tuple(indices(rule.postures))
        texts: list[str] = []
        for node_id in self._members.of_user.get(user, ()):
            bucket, place = self._members.of_bucket(node_id)
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

    def _of_nodes(self, rule: Rule, numbers: Iterable[int]) -> dict[str, Addresses]:
        """The nodes among the sources, of these buckets."""
        if not rule.postures and (ANY in rule.sources or DANGER_ALL in rule.sources):
            return {}
        wanted, buckets = (
            tuple(indices(rule.source_mask & ~self._program.atoms.literal)),
            self._members.buckets,
        )
        found = (
            (f"{number:x}", self._of_bucket(rule, bucket, wanted))
            for number in numbers
            if (bucket := buckets.get(number))
        )
        return {name: addresses for name, addresses in found if addresses}

    def _of_bucket(self, rule: Rule, bucket: Bucket, numbers: Iterable[int]) -> Addresses:
        named = bucket.matching(numbers)
        if not rule.postures:
            return self._beside_literals(rule, bucket, named) if named else ()
        held = bucket.matching(indices(rule.postures))
        return bucket.addresses(named & held) + self._within_literals(rule, bucket, held & ~named)

    def _within_literals(self, rule: Rule, bucket: Bucket, places: int) -> Addresses:
        """Of nodes that no selector names: those of their addresses that are named themselves."""
        literals = rule.source_mask & self._program.atoms.literal
        places &= bucket.matching(indices(literals))
        if not places:
            return ()
        named = self._named_addresses(rule)
        return tuple(text for text in bucket.addresses(places) if _is_in(named, text))

    def _beside_literals(self, rule: Rule, bucket: Bucket, places: int) -> Addresses:
        """Of nodes that selectors name. Pieces become rules of their own, and who is a source of two is
        granted a capability's values twice: so not those addresses that stand among what is no node.
        """
        addresses = bucket.addresses(places)
        literals = rule.source_mask & self._program.atoms.literal if rule.caps is not None else 0
        if not places & bucket.matching(indices(literals)):
            return addresses
        named = self._named_addresses(rule)
        return tuple(text for text in addresses if not _is_in(named, text))

    def _named_addresses(self, rule: Rule) -> Spans:
        return spans.union(self._literal(selector) for selector in rule.sources)


def _is_in(addresses: Spans, text: str) -> bool:
    return spans.contains(addresses, spans.number(ip_address(text)))


def _filled(pieces: Mapping[str, Addresses]) -> Mapping[str, Addresses]:
    return {name: addresses for name, addresses in pieces.items() if addresses}
