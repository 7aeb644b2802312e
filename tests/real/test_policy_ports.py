"""A changed policy opens and closes ports within a second, in its own tailnet and in no other."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from real.client import NEWEST, OLDEST, Client, Json
from real.reach import Knocks, knocking, serving
from real.scenario import Hosts, Tailnet, sees_all
from real.service import Service

PORT, OTHER_PORT = 7001, 7002
SECONDS = 1.0
Pair = tuple[Tailnet, Tailnet]


def only(port: int) -> Json:
    """Everyone may reach everyone there, so all stay visible."""
    return {"acls": [{"action": "accept", "src": ["*"], "dst": [f"*:{port}"]}]}


@pytest.fixture(scope="module")
def both(service: Service, machines: Hosts, numbers: Iterator[int]) -> Iterator[Pair]:
    """Tailnets on cluster 1 and 2, each of one who asks and a newest and an oldest client to be asked."""
    made = tuple(Tailnet(service, machines, f"net{next(numbers)}", cluster) for cluster in (1, 2))
    try:
        for tailnet in made:
            key = tailnet.auth_key(tailnet.create_user("alice"), "--reusable")
            tailnet.join(key, (NEWEST, NEWEST, OLDEST))
            sees_all(tailnet.clients)
        yield made  # type: ignore[misc]
    finally:
        machines.take_back()


@pytest.fixture(scope="module")
def knocks(both: Pair) -> Iterator[tuple[list[Knocks], list[Knocks]]]:
    """At the port of both targets of each tailnet."""
    targets: list[Client] = [client for tailnet in both for client in tailnet.clients[1:]]
    with ExitStack() as stack:
        stack.enter_context(serving(*(client.host for client in targets), port=PORT))
        yield tuple(  # type: ignore[misc]
            [
                stack.enter_context(knocking(tailnet.clients[0], target, PORT))
                for target in tailnet.clients[1:]
            ]
            for tailnet in both
        )


def test_a_port_opens_and_closes_within_a_second_in_one_tailnet_alone(
    both: Pair, knocks: tuple[list[Knocks], list[Knocks]]
) -> None:
    (ours, theirs), (at_ours, at_theirs) = both, knocks
    start = max(shut(ours, at_ours), shut(theirs, at_theirs))

    opened = ours.set_policy(only(PORT))
    assert max(each.opened(opened) for each in at_ours) < SECONDS
    assert all(each.are_always(answered=False, since=start) for each in at_theirs)

    start = theirs.set_policy(only(PORT))
    assert max(each.opened(start) for each in at_theirs) < SECONDS
    assert all(each.are_always(answered=True, since=opened + SECONDS) for each in at_ours)

    closed = ours.set_policy(only(OTHER_PORT))
    assert max(each.closed(closed) for each in at_ours) < SECONDS
    assert all(each.are_always(answered=True, since=start + SECONDS) for each in at_theirs)


def shut(tailnet: Tailnet, knocks: list[Knocks]) -> float:
    """Closes the port; since when nobody is answered."""
    at = tailnet.set_policy(only(OTHER_PORT))
    return at + max(0.0, *(each.closed(at) for each in knocks)) + 0.01


def test_changes_in_a_row_are_each_in_force_within_a_second(
    both: Pair, knocks: tuple[list[Knocks], list[Knocks]]
) -> None:
    [tailnet, _], [at_targets, _] = both, knocks
    for _ in range(3):
        at = tailnet.set_policy(only(PORT))
        assert max(each.opened(at) for each in at_targets) < SECONDS
        at = tailnet.set_policy(only(OTHER_PORT))
        assert max(each.closed(at) for each in at_targets) < SECONDS


def test_a_refused_policy_changes_nothing(both: Pair, knocks: tuple[list[Knocks], list[Knocks]]) -> None:
    [tailnet, _], [at_targets, _] = both, knocks
    shut(tailnet, at_targets)
    at = tailnet.set_policy(only(PORT))
    opened = at + max(each.opened(at) for each in at_targets)
    failing = only(OTHER_PORT) | {"tests": [{"src": "alice@", "accept": [f"100.64.0.2:{PORT}"]}]}
    for bad, reason in ((failing, "test"), ({"acls": [{"action": "shut"}]}, "shut")):
        with pytest.raises(AssertionError, match=reason):
            tailnet.set_policy(bad)
    assert all(each.are_always(answered=True, since=opened) for each in at_targets)
