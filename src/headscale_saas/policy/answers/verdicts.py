"""What is said of one pair of ends: allowed by these rules, or denied for want of something."""

from collections.abc import Iterable
from enum import StrEnum
from itertools import islice

import msgspec

from headscale_saas.policy.clauses import Clause
from headscale_saas.policy.language.ports import ALL_PORTS, PROTOCOLS
from headscale_saas.policy.language.positions import Position
from headscale_saas.tailcfg.filters import PortRange

PROTOCOL_NAMES = {number: name for name, number in reversed(PROTOCOLS.items())}


class Missing(StrEnum):
    """What would have to be different for a connection to be allowed."""

    SOURCE_AWAY = "source_away"
    DESTINATION_AWAY = "destination_away"
    FAMILY = "family"
    ROUTE = "route"
    APPROVAL = "approval"
    SOURCE = "source"
    DESTINATION = "destination"
    POSTURE = "posture"
    ROUTER = "router"
    EXIT = "exit"
    PORTS = "ports"


DETAILS = {
    Missing.FAMILY: "one has an IPv4 address only, and the other an IPv6 address only",
    Missing.ROUTE: "no node serves a route to the destination",
    Missing.SOURCE: "no rule has the source",
    Missing.DESTINATION: "rules have the source, but none of them the destination",
    Missing.POSTURE: "the rules for this pair ask for a posture that the source does not have",
    Missing.ROUTER: "the rules for this pair are for other routers (`via`) than those that lead there",
    Missing.EXIT: "only exit nodes lead there, and they are shown to those who may reach all of the Internet",
    Missing.PORTS: "the rules for this pair allow other ports or protocols",
}


class Reason(msgspec.Struct, frozen=True, gc=False):
    """A rule and where it stands; `position` None: the file has no rules, which allows everything."""

    text: str
    position: Position | None

    def __str__(self) -> str:
        return f"{self.position}: {self.text}" if self.position else self.text


class Verdict(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """About one pair of ends. If it is allowed, `reasons` are the rules that allow it; if not, `missing` says
    what stands against it, `detail` tells it to people, and `reasons` are the first rules that came closest.
    """

    source: str
    destination: str
    missing: Missing | None = None
    detail: str = ""
    reasons: tuple[Reason, ...] = ()

    @property
    def is_allowed(self) -> bool:
        return self.missing is None

    def __str__(self) -> str:
        verdict = "allowed" if self.is_allowed else f"denied: {self.detail}"
        return "\n    ".join((f"{self.source} -> {self.destination}: {verdict}", *map(str, self.reasons)))


MOST_REASONS = 5


def allowed(source: str, target: str, clauses: Iterable[Clause]) -> Verdict:
    return Verdict(source=source, destination=target, reasons=_reasons(clauses))


def denied(
    source: str, target: str, missing: Missing, detail: str = "", clauses: Iterable[Clause] = ()
) -> Verdict:
    """`clauses` are those that came closest."""
    return Verdict(
        source=source,
        destination=target,
        missing=missing,
        detail=detail or DETAILS[missing],
        reasons=_reasons(clauses),
    )


def described(clause: Clause) -> str:
    """A rule on one line, in about the words of the file."""
    words = ", ".join(map(str, clause.sources)) or "nobody"
    targets = [*map(str, clause.destinations), *(["autogroup:self"] if clause.has_self else [])]
    text = f"{words} -> {', '.join(targets) or 'nothing'}: "
    text += "; ".join(_entry(*entry) for entry in clause.ip) or "capabilities only"
    text += f" via {', '.join(clause.via)}" if clause.via else ""
    return text + (f" from devices with {' or '.join(clause.postures)}" if clause.postures else "")


def _entry(protocol: int | None, ports: Iterable[PortRange]) -> str:
    name = "" if protocol is None else f"{PROTOCOL_NAMES.get(protocol, protocol)}:"
    return name + ",".join(map(_span, ports))


def _span(ports: PortRange) -> str:
    if ports == ALL_PORTS:
        return "*"
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _reasons(clauses: Iterable[Clause]) -> tuple[Reason, ...]:
    return tuple(Reason(described(clause), clause.position) for clause in islice(clauses, MOST_REASONS))
