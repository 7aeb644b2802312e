"""The packet filters of the classes of one state. Made when they are first asked for, and then kept for the
next states as long as nothing in them changes.

A policy is refused that would make filters too large. Later, in a tailnet that grows, nodes that join when
they are full are nobody's source (`steps`). Whatever happens in one step, twice as much is the end: what is
past it is left out, and lets nobody in.
"""

from collections.abc import Iterable

from headscale_saas.policy.chunks import ChunkedFilters, Part, size_of
from headscale_saas.policy.classes import NodeClass
from headscale_saas.policy.destinations import Deliveries, Delivery, Told
from headscale_saas.policy.members import Members
from headscale_saas.policy.program import Program
from headscale_saas.policy.reach import RuleSet
from headscale_saas.policy.sources import Sources, Surroundings
from headscale_saas.tailnet.model import UserId

MOST_FILTER_BYTES = 16 << 20
"""Of the packet filter of one node, as JSON: clients hold it in memory, and phones are clients."""
MOST_FILTERS_BYTES = 64 << 20
"""Of all filters, what several nodes are told counted once: the process holds them."""
MOST_EVER = 2
"""So many times as much is never told."""


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
        self._size = self._largest = 0

    def advanced(
        self, members: Members, around: Surroundings, stale: RuleSet, users: frozenset[UserId]
    ) -> "Filtering":
        """For the next state. `stale` are the rules, and `users` the owners, of nodes that changed."""
        sources = self._sources.advanced(members, around, stale, users)
        after = Filtering(self._program, self._deliveries, sources)
        after._former_filters = self._former_filters | self._filters
        after._former_parts, after._parts = dict(self._former_parts), dict(self._parts)
        after._size, after._largest = self._size, self._largest
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

    def would_be_full(self, classes: Iterable[NodeClass]) -> bool:
        """Whether the filter of any of them, or all that they do not share, would take more bytes of JSON
        than may be told. Makes no filter."""
        one, all_of_them = MOST_FILTER_BYTES, MOST_FILTERS_BYTES
        sizes: dict[Delivery, int] = {}
        for told in dict.fromkeys(map(self._deliveries.of, classes)):
            total = 0
            for delivery in told.deliveries:
                if delivery not in sizes:
                    sources = self._sources.of(delivery.rule, delivery.user)
                    sizes[delivery] = size = size_of(delivery, sources)
                    all_of_them -= size
                total += sizes[delivery]
                if total > one or all_of_them < 0:
                    return True
        return False

    @property
    def filling(self) -> float:
        """What was told, as a share of what may be."""
        return max(self._largest / MOST_FILTER_BYTES, self._size / MOST_FILTERS_BYTES)

    def recount(self) -> None:
        """Counts again what is told now: classes and sources may have gone."""
        parts = self._former_parts | self._parts
        self._size = sum(part.size for part in parts.values())
        filters = self._former_filters | self._filters
        self._largest = max((one.size for one in filters.values()), default=0)

    def _parts_of(self, deliveries: tuple[Delivery, ...]) -> tuple[Part, ...]:
        parts: list[Part] = []
        size = 0
        for delivery in deliveries:
            part = self._parts.get(delivery) or self._part(delivery)
            size += part.size if part else 0
            if part is None or size > MOST_EVER * MOST_FILTER_BYTES:
                break
            parts.append(part)
        self._largest = max(self._largest, size)
        return tuple(parts)

    def _part(self, delivery: Delivery) -> Part | None:
        """None: there is no room for one more."""
        former = self._former_parts.get(delivery)
        if former is None and self._size > MOST_EVER * MOST_FILTERS_BYTES:
            return None
        sources = self._sources.of(delivery.rule, delivery.user)
        is_same = former is not None and former.sources is sources
        rule = self._program.rules[delivery.rule]
        part = former if former and is_same else Part(rule, delivery, sources, former)
        self._former_parts.pop(delivery, None)
        self._size += part.size - (former.size if former else 0)
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
        self.recount()
