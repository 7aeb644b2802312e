"""The addresses that a selector names without looking at any node: prefixes, hosts, ipsets, the internet."""

from collections.abc import Iterator
from ipaddress import ip_network

from headscale_saas.policy import spans
from headscale_saas.policy.language.document import Document, IpsetStep
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.language.selectors import INTERNET, Kind, Selector
from headscale_saas.policy.spans import Changing, Spans

MOST_SPANS = 100_000
"""Of all ipsets together; one that is named in others counts there, too."""

LITERAL_KINDS = frozenset({Kind.PREFIX, Kind.HOST, Kind.IPSET})


def is_literal(selector: Selector) -> bool:
    """Whether it names addresses, whoever has them."""
    return selector.kind in LITERAL_KINDS or selector == INTERNET


class Literals:
    """The literal selectors of a document; what each means is worked out once.

    Raises PolicyError where ipsets are too large.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._ipsets: dict[str, Spans] = {}
        self._of_internet: set[str] = set()
        self._worked = 0

    def spans(self, selector: Selector) -> Spans:
        """The empty set for selectors that are not literal."""
        if selector.kind is Kind.PREFIX:
            return (spans.span(ip_network(selector.name)),)
        if selector.kind is Kind.HOST:
            return (spans.span(self._document.hosts[selector.name]),)
        if selector.kind is Kind.IPSET:
            self._work_out(selector.name)
            return self._ipsets[selector.name]
        return spans.INTERNET if selector == INTERNET else spans.NONE

    def reaches_internet(self, selector: Selector) -> bool:
        """Whether it is `autogroup:internet` or shaped from it: then it is for exit nodes."""
        if selector.kind is not Kind.IPSET:
            return selector == INTERNET
        self._work_out(selector.name)
        return selector.name in self._of_internet

    def _work_out(self, name: str) -> None:
        """Without recursion: a file may chain thousands. (The parser refused cycles.)"""
        waiting = [name]
        while waiting:
            steps = self._document.ipsets[waiting[-1]]
            missing = [inner for inner in _inner(steps) if inner not in self._ipsets]
            if waiting[-1] not in self._ipsets and missing:
                waiting += missing
            elif (known := waiting.pop()) not in self._ipsets:
                self._settle(known, steps)

    def _settle(self, name: str, steps: tuple[IpsetStep, ...]) -> None:
        result = Changing()
        for step in steps:
            pieces = self._pieces(step)
            self._worked += len(pieces)
            if self._worked > MOST_SPANS:
                raise PolicyError(f"the ipsets name more than {MOST_SPANS} ranges", code="too_large")
            (result.add if step.adds else result.remove)(pieces)
            if step.adds and isinstance(step.what, Selector) and self.reaches_internet(step.what):
                self._of_internet.add(name)
        self._ipsets[name] = result.settled()

    def _pieces(self, step: IpsetStep) -> Spans:
        return self.spans(step.what) if isinstance(step.what, Selector) else (spans.span_between(*step.what),)


def _inner(steps: tuple[IpsetStep, ...]) -> Iterator[str]:
    for step in steps:
        if isinstance(step.what, Selector) and step.what.kind is Kind.IPSET:
            yield step.what.name
