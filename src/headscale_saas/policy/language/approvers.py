"""`autoApprovers`: whose routes, exit nodes and services need no approval by hand."""

from collections.abc import Mapping

from headscale_saas.policy.language.document import RouteApprover
from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.places import APPROVER
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.recognition import read_network, recognise
from headscale_saas.policy.language.selectors import Kind, Selector
from headscale_saas.policy.language.shapes import items, members, string
from headscale_saas.policy.language.values import Value


def read_approvers(value: Value | None, names: Names) -> tuple[Selector, ...]:
    return tuple(_approver(item, names) for item in items(value))


def _approver(value: Value, names: Names) -> Selector:
    if recognise(string(value).strip()) is None:
        raise value.refused(f"invalid auto approver format: {quoted(string(value))}")
    return APPROVER.read(value, names)


def read_route_approvers(value: Value | None, names: Names) -> tuple[RouteApprover, ...]:
    return tuple(_route(prefix, approvers, names) for prefix, approvers in members(value))


def _route(prefix: str, value: Value, names: Names) -> RouteApprover:
    network = read_network(prefix.strip())
    if network is None:
        raise value.name_refused(f"autoApprovers.routes: {quoted(prefix)} is not a network prefix")
    return RouteApprover(network, read_approvers(value, names))


def read_service_approvers(value: Value | None, names: Names) -> Mapping[str, tuple[Selector, ...]]:
    return {name: _service(name, approvers, names) for name, approvers in members(value)}


def _service(name: str, value: Value, names: Names) -> tuple[Selector, ...]:
    selector = recognise(name)
    if selector is None or selector.kind not in (Kind.SERVICE, Kind.TAG):
        raise value.name_refused(f"autoApprovers.services: {quoted(name)} is neither a service nor a tag")
    if undefined := names.undefined(selector):
        raise value.name_refused(undefined)
    return read_approvers(value, names)
