"""What ACLs and grants have in common: posture lists and the bounds of autogroup:self."""

from collections.abc import Iterable

from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.places import PEOPLE
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.selectors import SELF, Kind, Selector
from headscale_saas.policy.language.shapes import items, string
from headscale_saas.policy.language.values import Value

_PERSONAL = {Kind.USER, Kind.DOMAIN, Kind.GROUP}


def read_postures(value: Value | None, names: Names) -> tuple[str, ...] | None:
    """Names of postures; None if absent."""
    return tuple(_posture(item, names) for item in items(value)) if value else None


def _posture(value: Value, names: Names) -> str:
    name = string(value).strip()
    if name not in names.postures:
        raise value.refused(f"posture not found: {quoted(name)}")
    return name


def check_self(
    rule: Value, sources: Iterable[Selector], destinations: Iterable[Selector], *, allowed: Iterable[Selector]
) -> None:
    """`autogroup:self` is for people's own devices: sources must be people, or one of `allowed`."""
    if SELF not in destinations:
        return
    if not all(one.kind in _PERSONAL or one in PEOPLE or one in allowed for one in sources):
        raise rule.refused("autogroup:self can only be used with users, groups, or supported autogroups")
