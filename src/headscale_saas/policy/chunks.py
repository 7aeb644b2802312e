"""Packet filters in named chunks, which nodes of many classes share and of which a change renews few.

A chunk is one piece of a rule's sources towards the destinations that concern a class: `r0007.1f`.
"""

from collections.abc import Iterable, Iterator, Mapping
from weakref import ref

from headscale_saas.policy.buckets import Addresses
from headscale_saas.policy.compiled import Filters
from headscale_saas.policy.destinations import Delivery
from headscale_saas.policy.rules import Rule
from headscale_saas.policy.sources import Pieces
from headscale_saas.tailcfg.filters import FilterRule

Chunk = tuple[FilterRule, ...]
Changes = dict[str, Chunk | None]
"""Chunks that differ; None for those that are gone."""

A_CHUNK, A_PORT, A_GRANT, AN_ADDRESS = 60, 50, 100, 20
"""Bytes of JSON."""

NOTHING_COMES_IN: Mapping[str, Chunk] = {"base": ()}
"""A filter without any chunk would be none."""


class Part:
    """The chunks of one delivery, by name, some `size` bytes of JSON. Those whose sources are the former
    part's are, too."""

    __slots__ = ("__weakref__", "_changes", "_former", "chunks", "delivery", "size", "sources")

    def __init__(self, rule: Rule, delivery: Delivery, sources: Pieces, former: "Part | None") -> None:
        self.delivery = delivery
        self.sources: Pieces = sources
        self.size = size_of(delivery, sources)
        is_next = former is not None and sources.is_after(former.sources)
        self._former = ref(former) if former and is_next else None
        self.chunks: dict[str, Chunk] = dict(former.chunks) if former and is_next else {}
        self._changes: Changes = {}
        for piece in sources.renewed if is_next else sources.addresses:
            name, addresses = f"r{rule.number:04}.{piece}", sources.addresses.get(piece)
            if addresses is None:
                del self.chunks[name]
                self._changes[name] = None
            else:
                self._changes[name] = self.chunks[name] = _chunk(rule, delivery, addresses)

    def changes_since(self, before: "Part") -> Changes:
        is_next = self._former is not None and self._former() is before
        return self._changes if is_next else differing(before.chunks, self.chunks)


def size_of(delivery: Delivery, sources: Pieces) -> int:
    """About so many bytes of JSON."""
    repeated = A_CHUNK + A_PORT * len(delivery.ports) + A_GRANT * len(delivery.grants)
    return sum(repeated + AN_ADDRESS * len(addresses) for addresses in sources.addresses.values())


def _chunk(rule: Rule, delivery: Delivery, addresses: Addresses) -> Chunk:
    protocol = () if rule.protocol is None else (rule.protocol,)
    filter_rule = FilterRule(
        src_ips=addresses, dst_ports=delivery.ports, ip_proto=protocol, cap_grant=delivery.grants
    )
    return (filter_rule,)


class ChunkedFilters(Mapping[str, Chunk]):
    """A filter as the parts it shares; a dictionary is made of them only when somebody looks into it."""

    __slots__ = ("_chunks", "parts")

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts
        self._chunks: dict[str, Chunk] | None = None

    @property
    def chunks(self) -> Mapping[str, Chunk]:
        if self._chunks is None:
            self._chunks = {name: chunk for part in self.parts for name, chunk in part.chunks.items()}
        return self._chunks or NOTHING_COMES_IN

    def __getitem__(self, name: str) -> Chunk:
        return self.chunks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.chunks)

    def __len__(self) -> int:
        return len(self.chunks)

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def has_chunks(self) -> bool:
        return any(part.chunks for part in self.parts)


def changed_chunks(before: Filters, after: Filters) -> Changes:
    """From one filter of a node to the next."""
    if before is after:
        return {}
    if isinstance(before, ChunkedFilters) and isinstance(after, ChunkedFilters):
        pairs = list(zip(before.parts, after.parts, strict=False))
        is_same_class = len(before.parts) == len(after.parts) and all(map(_have_same_delivery, pairs))
        if is_same_class and before.has_chunks and after.has_chunks:
            return _changes_of_parts(pairs)
    return differing(before, after)


def differing(before: Filters, after: Filters) -> Changes:
    old, new = _plain(before), _plain(after)
    gone: Changes = dict.fromkeys(old.keys() - new.keys())
    return gone | {name: chunk for name, chunk in new.items() if old.get(name) != chunk}


def _plain(filters: Filters) -> Mapping[str, Chunk]:
    """There may be thousands of chunks, and a dictionary is much quicker."""
    return filters.chunks if isinstance(filters, ChunkedFilters) else filters


def _have_same_delivery(pair: tuple[Part, Part]) -> bool:
    return pair[0].delivery is pair[1].delivery


def _changes_of_parts(pairs: Iterable[tuple[Part, Part]]) -> Changes:
    changes: Changes = {}
    for before, after in pairs:
        if before is not after:
            changes |= after.changes_since(before)
    return changes
