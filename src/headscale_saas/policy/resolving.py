"""The addresses that a selector names without looking at any node: prefixes, hosts, ipsets, the internet."""

from ipaddress import ip_network

from headscale_saas.policy import spans
from headscale_saas.policy.language.document import Document, IpsetStep
from headscale_saas.policy.language.selectors import INTERNET, Kind, Selector
from headscale_saas.policy.spans import Spans


def literal_spans(document: Document, selector: Selector) -> Spans:
    """The empty set for selectors of other kinds. Ipsets must not name themselves (the parser sees to it)."""
    if selector.kind is Kind.PREFIX:
        return (spans.span(ip_network(selector.name)),)
    if selector.kind is Kind.HOST:
        return (spans.span(document.hosts[selector.name]),)
    if selector.kind is Kind.IPSET:
        return _ipset(document, selector)
    return spans.INTERNET if selector == INTERNET else spans.NONE


def reaches_internet(document: Document, selector: Selector) -> bool:
    """Whether it is `autogroup:internet` or shaped from it: then exit nodes are among its destinations."""
    if selector.kind is not Kind.IPSET:
        return selector == INTERNET
    added = (step.what for step in document.ipsets[selector.name] if step.adds)
    return any(isinstance(what, Selector) and reaches_internet(document, what) for what in added)


def _ipset(document: Document, selector: Selector) -> Spans:
    result = spans.NONE
    for step in document.ipsets[selector.name]:
        pieces = _step(document, step)
        result = spans.union((result, pieces)) if step.adds else spans.difference(result, pieces)
    return result


def _step(document: Document, step: IpsetStep) -> Spans:
    if isinstance(step.what, Selector):
        return literal_spans(document, step.what)
    return (spans.span_between(*step.what),)
