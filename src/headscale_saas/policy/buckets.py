"""Nodes whose ids are neighbours, and who of them has which bit.

The next state's members share all buckets in which nothing that matters changed.
"""

from collections.abc import Iterable
from itertools import chain, compress

from headscale_saas.policy.atoms import indices
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.state import TailnetState

BUCKET_BITS = 5
MOST_BITS = 12
MOST_PIECES = 16384
"""Buckets are wider than 32 ids, up to 4096, where rules times buckets, for all ids so far, would be more."""

Addresses = tuple[str, ...]

_DIGITS = bytes.maketrans(b"01", bytes((0, 1)))


class Bucket:
    """Nodes whose ids differ only in the lowest bits, which are their places in a bitmap. `all` of them have
    one, too."""

    __slots__ = ("_bits", "_having", "_places", "_spelled", "_texts", "all", "nodes")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._places = (1 << bits) - 1
        self.all = 0
        self.nodes: dict[int, Node] = {}
        self._having: dict[int, int] = {}
        self._texts: list[Addresses] = [()] * (1 << bits)
        self._spelled: dict[int, Addresses] = {}

    def put(self, node: Node, mask: int) -> None:
        """Only while the bucket is made."""
        place = node.id & self._places
        self.all |= 1 << place
        self.nodes[place] = node
        self._texts[place] = addresses_of(node)
        for number in indices(mask):
            self._having[number] = self._having.get(number, 0) | 1 << place

    def without(self, node_ids: Iterable[NodeId]) -> "Bucket":
        """A new one, to put others in."""
        left = Bucket(self._bits)
        gone = sum(1 << (node_id & self._places) for node_id in node_ids)
        left.all = self.all & ~gone
        left.nodes = {place: node for place, node in self.nodes.items() if left.all >> place & 1}
        left._texts = list(self._texts)
        for place in indices(gone):
            left._texts[place] = ()
        having = ((number, bitmap & ~gone) for number, bitmap in self._having.items())
        left._having = {number: bitmap for number, bitmap in having if bitmap}
        return left

    def matching(self, numbers: Iterable[int]) -> int:
        """The bitmap of nodes that have any of these bits."""
        having, found = self._having, 0
        for number in numbers:
            found |= having.get(number, 0)
        return found

    def addresses_at(self, place: int) -> Addresses:
        return self._texts[place]

    def addresses(self, bitmap: int) -> Addresses:
        """All addresses of these nodes, in order of id, IPv4 first."""
        spelled = self._spelled.get(bitmap)
        if spelled is None:
            texts = chain.from_iterable(compress(self._texts, _flags(bitmap)))
            spelled = self._spelled[bitmap] = tuple(texts)
        return spelled


def _flags(bitmap: int) -> bytes:
    """A byte for each bit, from the lowest."""
    return f"{bitmap:b}"[::-1].encode().translate(_DIGITS)


def bits_for(rules: int, state: TailnetState) -> int:
    """How many of the lowest bits of ids a bucket spans: more only as the highest id gets longer."""
    most = max(MOST_PIECES // max(rules, 1), 1)
    highest = max(state.nodes, default=0)
    return min(max(BUCKET_BITS, highest.bit_length() - most.bit_length() + 1), MOST_BITS)


def addresses_of(node: Node) -> Addresses:
    return tuple(str(address) for address in (node.ipv4, node.ipv6) if address is not None)
