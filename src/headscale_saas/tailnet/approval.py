"""Which routes can be approved, by an admin or by the policy."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from headscale_saas.errors import Invalid
from headscale_saas.tailnet.model import DEFAULT_PREFIX_V4, DEFAULT_PREFIX_V6, IPNetwork, Settings
from headscale_saas.tailnet.routes import EXIT_ROUTES

MAX_ROUTES = 512


def checked(routes: Iterable[str], settings: Settings) -> tuple[str, ...]:
    """Canonical, sorted, without repeats; one exit route stands for both. Raises Invalid with the reason."""
    texts = [text.strip() for text in routes if text.strip()]
    if len(texts) > MAX_ROUTES:
        raise Invalid(f"too many routes: at most {MAX_ROUTES}", field="routes")
    approved = {str(_checked(text, settings)) for text in texts}
    if approved & set(EXIT_ROUTES):
        approved |= set(EXIT_ROUTES)
    return tuple(sorted(approved))


def _checked(text: str, settings: Settings) -> IPNetwork:
    try:
        # A zone is no part of a prefix, though Python reads one there.
        route = ip_network(text, strict=False) if "/" in text and "%" not in text else None
    except ValueError:
        route = None
    if route is None:
        raise Invalid(f"parsing route {text[:64]!r}: it is not a prefix like 10.0.0.0/8", field="routes")
    if problem := objection(route, settings):
        raise Invalid(problem, field="routes")
    return route


def objection(route: IPNetwork, settings: Settings) -> str:
    """Why nobody may approve the route: a node would draw packets that are for others. "" if one may."""
    if str(route) in EXIT_ROUTES:
        return ""
    if route.is_loopback or route.is_multicast or route.is_link_local or route.is_unspecified:
        return f"route {route} cannot be reached through a node"
    for own in (settings.prefix_v4, settings.prefix_v6, DEFAULT_PREFIX_V4, DEFAULT_PREFIX_V6):
        if own is not None and _overlaps(route, own):
            return f"route {route} overlaps the tailnet's own addresses {own}"
    return ""


def _overlaps(route: IPNetwork, own: IPNetwork) -> bool:
    if isinstance(route, IPv4Network) and isinstance(own, IPv4Network):
        return route.overlaps(own)
    # Embedded IPv4 sites live in a corner of the IPv6 range that nodes never get an address from.
    via = IPv6Network("fd7a:115c:a1e0:b1a::/64")
    return (
        isinstance(route, IPv6Network)
        and isinstance(own, IPv6Network)
        and route.overlaps(own)
        and not route.subnet_of(via)
    )
