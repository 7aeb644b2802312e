"""ACL rules and grants in one form, in the order in which the real service takes them: all grants, then all
ACL rules, and of these a clause for each destination.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from headscale_saas.policy.language.document import Acl, Document, Grant, IpEntry
from headscale_saas.policy.language.positions import Position
from headscale_saas.policy.language.selectors import ANY, SELF, Kind, Selector
from headscale_saas.tailcfg.codec import Json
from headscale_saas.tailcfg.filters import PortRange

DRIVE = "tailscale.com/cap/drive"
RELAY = "tailscale.com/cap/relay"
COMPANIONS = {DRIVE: "tailscale.com/cap/drive-sharer", RELAY: "tailscale.com/cap/relay-target"}
"""What the destinations of an app are granted in return, on its sources."""

Ports = tuple[PortRange, ...]
App = Mapping[str, tuple[Json, ...]]

EVERYTHING = (PortRange(),)


class Clause(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`destinations` are without `autogroup:self`, which is `has_self`. `ip` are the ports of each protocol
    (None = the default set) in order of mention. `postures` () = no matter. `position` None: the file has
    no rules.
    """

    position: Position | None
    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    has_self: bool = False
    ip: tuple[tuple[int | None, Ports], ...] = ()
    app: App = MappingProxyType({})
    via: tuple[str, ...] = ()
    postures: tuple[str, ...] = ()

    @property
    def companions(self) -> Iterator[str]:
        """The capabilities that go the other way."""
        return (returned for name, returned in COMPANIONS.items() if name in self.app)


def clauses_of(document: Document) -> tuple[Clause, ...]:
    """A document without any rules allows everything."""
    if document.acls is None and document.grants is None:
        everything = ((None, EVERYTHING),)
        open_ = Clause(
            position=None,
            sources=(ANY,),
            destinations=(ANY,),
            ip=everything,
            postures=document.default_postures,
        )
        return (open_,)
    defaults = document.default_postures
    grants = [_of_grant(grant, defaults) for grant in document.grants or ()]
    acls = [clause for acl in document.acls or () for clause in _of_acl(acl, defaults)]
    return (*grants, *acls)


def _of_grant(grant: Grant, defaults: tuple[str, ...]) -> Clause:
    return Clause(
        position=grant.position,
        sources=grant.sources,
        destinations=tuple(one for one in grant.destinations if one != SELF),
        has_self=SELF in grant.destinations,
        ip=_by_protocol(grant.ip),
        app=grant.app,
        via=grant.via,
        postures=defaults if grant.postures is None else grant.postures,
    )


def _by_protocol(entries: Iterable[IpEntry]) -> tuple[tuple[int | None, Ports], ...]:
    ports: dict[int | None, Ports] = {}
    for entry in entries:
        ports[entry.protocol] = ports.get(entry.protocol, ()) + entry.ports
    return tuple(ports.items())


def _of_acl(acl: Acl, defaults: tuple[str, ...]) -> Iterator[Clause]:
    ports: dict[Selector, Ports] = {}
    for target in acl.targets:
        ports[target.host] = ports.get(target.host, ()) + target.ports
    for host in _in_order(ports):
        yield Clause(
            position=acl.position,
            sources=acl.sources,
            destinations=() if host == SELF else (host,),
            has_self=host == SELF,
            ip=((acl.protocol, ports[host]),),
            postures=defaults if acl.postures is None else acl.postures,
        )


def _in_order(hosts: Iterable[Selector]) -> list[Selector]:
    """As the real service orders the destinations of an ACL rule."""
    hosts = list(hosts)
    if all(host.kind is Kind.AUTOGROUP for host in hosts):
        return hosts
    return sorted(hosts, key=_rank)


def _rank(host: Selector) -> int:
    if host == ANY:
        return 0
    if host == SELF:
        return 3
    return 2 if host.kind is Kind.GROUP else 1
