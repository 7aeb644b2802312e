"""A policy as plain JSON, and the devices it is applied to."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.policy_oracle.ranges import EXIT_ROUTES

Policy = Mapping[str, Any]
"""The file as `json.loads` gives it; {} = everything is allowed."""


@dataclass(frozen=True, eq=False)
class Device:
    """`user` is the number of its owner, None for a tagged device; `logins` are all his names.

    `usable`: neither expired nor waiting for an admin; others are in no group. `facts` are what postures see.
    """

    id: int
    addresses: tuple[str, ...]
    user: int | None = None
    logins: tuple[str, ...] = ()
    role: str = "member"
    tags: tuple[str, ...] = ()
    advertised: frozenset[str] = frozenset()
    approved: frozenset[str] = frozenset()
    online: bool = True
    usable: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def live_routes(self) -> set[str]:
        """Exit routes count only as a pair."""
        routes = set(self.advertised & self.approved) if self.usable else set()
        return routes if routes.issuperset(EXIT_ROUTES) else routes.difference(EXIT_ROUTES)

    @property
    def subnets(self) -> set[str]:
        return self.live_routes.difference(EXIT_ROUTES)

    @property
    def is_exit_node(self) -> bool:
        return bool(self.live_routes.intersection(EXIT_ROUTES))


@dataclass(frozen=True, eq=False)
class World:
    """Devices in the order in which they joined."""

    policy: Policy
    devices: Collection[Device]

    def device(self, number: int) -> Device:
        return next(device for device in self.devices if device.id == number)

    def served_by(self, device: Device) -> set[str]:
        """Its exit routes, and the subnets it was elected for."""
        routes = device.live_routes
        return {r for r in routes if r in EXIT_ROUTES or elected(r, self.devices) is device}


def elected(route: str, devices: Collection[Device]) -> Device | None:
    """Of those that may serve the route the first that is online; the first of all if none is."""
    routers = [device for device in devices if route in device.live_routes]
    online = [device for device in routers if device.online]
    return next(iter(online or routers), None)
