"""The two ends of a connection as people name them, and how packets get to one."""

from collections.abc import Iterator, Sequence

import msgspec

from headscale_saas.errors import NotFound
from headscale_saas.policy import spans
from headscale_saas.policy.answers.connections import Connections
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.recognition import recognise
from headscale_saas.policy.language.selectors import Kind, Selector
from headscale_saas.policy.members import is_live
from headscale_saas.policy.spans import Span
from headscale_saas.policy.testing.tested import OF_NODES, spans_of
from headscale_saas.tailnet.model import Node
from headscale_saas.tailnet.routes import EXIT_ROUTES, usable_routes


class Party(msgspec.Struct, frozen=True, gc=False):
    """A node with its addresses, or one address (or prefix) that no node has."""

    name: str
    spans: tuple[Span, ...]
    node: Node | None = None

    @property
    def is_live(self) -> bool:
        return self.node is None or is_live(self.node)


class Parties:
    """All that a word may mean in one state."""

    def __init__(self, connections: Connections, document: Document) -> None:
        self._connections = connections
        self._nodes = connections.state.nodes.values()
        self._document = document
        self._routers: dict[tuple[Span, ...], list[Node]] = {}

    def named(self, word: str) -> list[Party]:
        """At least one. Raises NotFound for a word that means nobody."""
        word = word.strip()
        selector = recognise(word)
        # A device may call itself what it likes: that must not hide whom the policy's words mean.
        is_name = selector is None or selector.kind is Kind.HOST
        found = self._by_selector(word, selector) or (self._by_name(word) if is_name else [])
        if not found and selector is not None and selector.kind in OF_NODES:
            raise NotFound(f"{word[:200]!r} has no device here", code="no_such_end")
        if not found:
            hint = (
                f"; a user without a domain is written {word[:200] + '@'!r}" if is_name and selector else ""
            )
            raise NotFound(f"{word[:200]!r} is no node, address, user or tag here{hint}", code="no_such_end")
        return found

    def routers(self, party: Party) -> list[Node]:
        """The nodes that lead to an address that is no node's."""
        known = self._routers.get(party.spans)
        if known is None:
            known = [node for node in self._nodes if self._leads(usable_routes(node), party)]
            self._routers[party.spans] = known
        return known

    def is_beyond_exits(self, party: Party) -> bool:
        """Whether it is no node's, and only exit nodes lead there."""
        subnets = ([r for r in usable_routes(node) if r not in EXIT_ROUTES] for node in self.routers(party))
        return party.node is None and not any(self._leads(routes, party) for routes in subnets)

    def would_be_routers(self, party: Party) -> list[Node]:
        """The nodes that would lead there, were their routes approved."""
        return [node for node in self._nodes if self._leads(node.hostinfo.routable_ips, party)]

    def _by_name(self, word: str) -> list[Party]:
        suffix = self._connections.state.tailnet.settings.base_domain
        label = word.lower().rstrip(".").removesuffix(f".{suffix}")
        found = [node for node in self._nodes if node.name == label]
        found = found or [node for node in self._nodes if node.hostname.lower() == word.lower()]
        return [_party(node) for node in found]

    def _by_selector(self, word: str, selector: Selector | None) -> list[Party]:
        if selector is None:
            return []
        if selector.kind in OF_NODES:
            return [_party(node) for node in self._connections.members(selector)]
        return list(self._placed(word, selector))

    def _placed(self, word: str, selector: Selector) -> Iterator[Party]:
        if selector.kind is Kind.PREFIX:
            span = spans.of([selector.name])[0]
        elif selector.kind is Kind.HOST and selector.name in self._document.hosts:
            span = spans.span(self._document.hosts[selector.name])
        else:
            return
        node = self._connections.at(spans.address(span[0])) if span[0] == span[1] else None
        yield Party(node.name if node else word, (span,), node)

    def _leads(self, routes: Sequence[str], party: Party) -> bool:
        """Exit nodes lead to the internet only: what is private is behind a subnet router or nowhere."""
        subnets = [route for route in routes if route not in EXIT_ROUTES]
        around = spans.of(subnets)
        if len(subnets) < len(routes):
            around = spans.union((around, spans.INTERNET))
        return spans.covers(around, party.spans)


def _party(node: Node) -> Party:
    return Party(node.name, tuple(spans_of(node)), node)
