"""Where packets to a node may go: its own addresses, its live subnet routes, the internet on exit nodes."""

import msgspec

from headscale_saas.policy import spans
from headscale_saas.policy.spans import Span, Spans


class Place(msgspec.Struct, frozen=True, gc=False):
    """Of a destination, a node is told the pieces that concern it, unchanged. Only in what is shaped from
    `autogroup:internet` (`is_internet`) the internet may be joined with what is beside it: of such a piece an
    exit node is told the part that is the internet.
    """

    addresses: Spans
    subnets: Spans
    is_exit: bool

    def concerned(self, pieces: Spans, *, is_internet: bool) -> Spans:
        """What of an ordinary rule's destination the node is told."""
        told = tuple(piece for piece in pieces if self._concerns(piece))
        return self._with_internet(told, pieces) if is_internet and self.is_exit else told

    def routed(self, pieces: Spans, *, is_internet: bool) -> Spans:
        """What of a destination the node makes reachable as the router of a via rule."""
        told = tuple(piece for piece in pieces if spans.overlap(self.subnets, (piece,)))
        return self._with_internet(told, pieces) if is_internet and self.is_exit else told

    def _with_internet(self, told: Spans, pieces: Spans) -> Spans:
        return spans.union((told, spans.intersection(pieces, spans.INTERNET)))

    def granted(self, pieces: Spans, *, to_node: bool = True) -> tuple[str, ...]:
        """On which prefixes of a destination capabilities are granted: the node's addresses in it (unless the
        node itself is not meant), and whole prefixes that lead behind it."""
        own = spans.intersection(self.addresses, pieces) if to_node else spans.NONE
        behind = (
            network
            for network in spans.networks(pieces)
            if self.subnets and spans.overlap(self.subnets, (spans.span(network),))
        )
        return tuple(sorted({*prefixes(own), *map(str, behind)}))

    def _concerns(self, piece: Span) -> bool:
        return (
            spans.overlap((piece,), self.addresses)
            or spans.overlap(self.subnets, (piece,))
            or (self.is_exit and spans.covers(spans.INTERNET, (piece,)))
        )


def prefixes(pieces: Spans) -> tuple[str, ...]:
    return tuple(str(network) for network in spans.networks(pieces))
