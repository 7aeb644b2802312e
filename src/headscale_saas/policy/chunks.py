"""Packet filters in named chunks, which nodes of many classes share and of which a change renews few.

A chunk is one piece of a rule's sources towards the destinations that concern a class: `r0007.1f`.
"""

from collections.abc import Iterator, Mapping

from headscale_saas.policy.compiled import Filters
from headscale_saas.policy.destinations import Delivery
from headscale_saas.policy.rules import Rule
from headscale_saas.policy.sources import Pieces
from headscale_saas.tailcfg.filters import FilterRule

Chunk = tuple[FilterRule, ...]

NOTHING_COMES_IN: Mapping[str, Chunk] = {"base": ()}
"""A filter without any chunk would be none."""


class Part:
    """The chunks of one delivery. Chunks are the former part's where their sources are."""

    __slots__ = ("chunks", "sources")

    def __init__(self, rule: Rule, delivery: Delivery, sources: Pieces, former: "Part | None") -> None:
        self.sources = sources
        self.chunks: dict[str, Chunk] = {}
        known = former.sources if former else {}
        protocol = () if rule.protocol is None else (rule.protocol,)
        for piece, addresses in sources.items():
            name = f"r{rule.number:04}.{piece}"
            if former and known.get(piece) is addresses:
                self.chunks[name] = former.chunks[name]
            else:
                self.chunks[name] = (
                    FilterRule(
                        src_ips=addresses,
                        dst_ports=delivery.ports,
                        ip_proto=protocol,
                        cap_grant=delivery.grants,
                    ),
                )


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
    def has_chunks(self) -> bool:
        return any(part.chunks for part in self.parts)

    def changes_since(self, before: Filters) -> dict[str, Chunk | None]:
        """The chunks that differ; None for those that are gone."""
        old, new = _unshared(before, self), _unshared(self, before)
        gone: dict[str, Chunk | None] = dict.fromkeys(old.keys() - new.keys())
        return gone | {name: chunk for name, chunk in new.items() if old.get(name) != chunk}


def _unshared(filters: Filters, other: Filters) -> Mapping[str, Chunk]:
    """All that may differ from the other's: a part that both have is the same in both."""
    if not isinstance(filters, ChunkedFilters) or not isinstance(other, ChunkedFilters):
        return filters
    if not filters.has_chunks or not other.has_chunks:
        return filters.chunks
    shared = set(other.parts)
    return {
        name: chunk for part in filters.parts if part not in shared for name, chunk in part.chunks.items()
    }
