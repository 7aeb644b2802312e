"""The packet filters of the classes of one state. Made when they are first asked for, and then kept for the
next states as long as nothing in them changes.
"""

from collections.abc import Iterable

from headscale_saas.policy.chunks import ChunkedFilters, Part
from headscale_saas.policy.classes import NodeClass
from headscale_saas.policy.destinations import Deliveries, Delivery, Told
from headscale_saas.policy.members import Members
from headscale_saas.policy.program import Program
from headscale_saas.policy.reach import RuleSet
from headscale_saas.policy.sources import Sources, Surroundings
from headscale_saas.tailnet.model import UserId

A_CHUNK, A_PORT, A_GRANT, AN_ADDRESS = 60, 50, 100, 20
"""Bytes of JSON."""


class Filtering:
    """`deliveries` may be shared with the states before and after."""

    def __init__(self, program: Program, deliveries: Deliveries, sources: Sources) -> None:
        self._program = program
        self._deliveries = deliveries
        self._sources = sources
        self._parts: dict[Delivery, Part] = {}
        self._filters: dict[Told, ChunkedFilters] = {}
        self._former_parts: dict[Delivery, Part] = {}
        self._former_filters: dict[Told, ChunkedFilters] = {}

    def advanced(
        self, members: Members, around: Surroundings, stale: RuleSet, users: frozenset[UserId]
    ) -> "Filtering":
        """For the next state. `stale` are the rules, and `users` the owners, of nodes that changed."""
        sources = self._sources.advanced(members, around, stale, users)
        after = Filtering(self._program, self._deliveries, sources)
        after._former_filters = self._former_filters | self._filters
        after._former_parts, after._parts = dict(self._former_parts), dict(self._parts)
        for key in sources.outdated:
            for delivery in self._deliveries.with_sources(*key):
                if (part := after._parts.pop(delivery, None)) is not None:
                    after._former_parts[delivery] = part
        return after

    def of(self, of: NodeClass) -> ChunkedFilters:
        """The same object while nothing changed."""
        told = self._deliveries.of(of)
        filters = self._filters.get(told)
        if filters is None:
            parts = self._parts_of(told.deliveries)
            filters = self._former_filters.pop(told, None)
            if filters is None or filters.parts != parts:
                filters = ChunkedFilters(parts)
            self._filters[told] = filters
        return filters

    def are_larger(self, classes: Iterable[NodeClass], *, one: int, all_of_them: int) -> bool:
        """Whether the filter of any of them, or all that they do not share, would take more than about so
        many bytes of JSON. Makes no filter."""
        sizes: dict[Delivery, int] = {}
        for told in dict.fromkeys(map(self._deliveries.of, classes)):
            total = 0
            for delivery in told.deliveries:
                if delivery not in sizes:
                    sizes[delivery] = size = self._size(delivery)
                    all_of_them -= size
                total += sizes[delivery]
                if total > one or all_of_them < 0:
                    return True
        return False

    def _size(self, delivery: Delivery) -> int:
        pieces = self._sources.of(delivery.rule, delivery.user).addresses.values()
        repeated = A_CHUNK + A_PORT * len(delivery.ports) + A_GRANT * len(delivery.grants)
        return sum(repeated + AN_ADDRESS * len(addresses) for addresses in pieces)

    def _parts_of(self, deliveries: tuple[Delivery, ...]) -> tuple[Part, ...]:
        # Most classes find most of their parts made.
        known = map(self._parts.get, deliveries)
        return tuple(part or self._part(one) for part, one in zip(known, deliveries, strict=True))

    def _part(self, delivery: Delivery) -> Part:
        part = self._parts.get(delivery)
        if part is None:
            rule, former = self._program.rules[delivery.rule], self._former_parts.pop(delivery, None)
            sources = self._sources.of(delivery.rule, delivery.user)
            is_same = former is not None and former.sources is sources
            part = former if former and is_same else Part(rule, delivery, sources, former)
            self._parts[delivery] = part
        return part

    def forget_all_but(self, classes: frozenset[NodeClass]) -> None:
        """Forgets what was kept of classes that nobody is in any more."""
        self._deliveries.forget_all_but(classes)
        live = self._deliveries.told()
        self._former_filters = {told: one for told, one in self._former_filters.items() if told in live}
        self._parts = {one: part for one, part in self._parts.items() if self._deliveries.has(one)}
        self._former_parts = {
            one: part for one, part in self._former_parts.items() if self._deliveries.has(one)
        }
