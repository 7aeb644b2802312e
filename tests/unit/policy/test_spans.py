"""Sets of addresses."""

from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.policy import spans
from headscale_saas.policy.prefixes import PrefixIndex
from headscale_saas.policy.spans import Changing, Spans

SMALL = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)).map(lambda pair: (pair[0], sum(pair))))


def members(pieces: Spans) -> set[int]:
    return {place for low, high in pieces for place in range(low, high + 1)}


def is_normal(pieces: Spans) -> bool:
    return all(one[1] + 1 < other[0] for one, other in pairwise(pieces))


@given(SMALL, SMALL)
def test_arithmetic_is_that_of_sets(some: list[spans.Span], others: list[spans.Span]) -> None:
    one, other = spans.union([some]), spans.union([others])
    united, left, common = (
        spans.union((one, other)),
        spans.difference(one, other),
        spans.intersection(one, other),
    )
    assert members(united) == members(one) | members(other)
    assert members(left) == members(one) - members(other)
    assert members(common) == members(one) & members(other)
    assert is_normal(united)
    assert spans.overlap(one, other) == bool(common)
    assert spans.covers(one, other) == (members(other) <= members(one))


@given(SMALL, st.integers(0, 40))
def test_a_set_contains_its_members(pieces: list[spans.Span], place: int) -> None:
    united = spans.union([pieces])
    assert spans.contains(united, place) == (place in members(united))


@given(st.lists(st.tuples(st.booleans(), SMALL)))
def test_a_set_may_be_put_together_step_by_step(steps: list[tuple[bool, list[spans.Span]]]) -> None:
    changing, wanted = Changing(), set[int]()
    for adds, pieces in steps:
        united = spans.union([pieces])
        (changing.add if adds else changing.remove)(united)
        wanted = wanted | members(united) if adds else wanted - members(united)
    assert members(changing.settled()) == wanted
    assert is_normal(changing.settled())


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.0", "10.255.255.255", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.1-10.0.0.2"),
        ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ("fd7a::1", "fd7a::1", "fd7a::1"),
    ],
)
def test_clients_read_an_address_a_prefix_or_a_range(low: str, high: str, text: str) -> None:
    assert spans.spelled(spans.span_between(low, high)) == text


def test_the_two_families_never_touch() -> None:
    assert len(spans.union((spans.EVERYTHING_V4, spans.EVERYTHING_V6))) == 2


def test_the_internet_is_what_is_nobodys_own() -> None:
    for private in (
        "10.1.2.3",
        "172.31.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.0.1",
        "fd7a::1",
        "fe80::1",
    ):
        assert not spans.contains(spans.INTERNET, spans.number(ip_address(private)))
    for public in ("1.1.1.1", "172.32.0.1", "2606:4700::1"):
        assert spans.contains(spans.INTERNET, spans.number(ip_address(public)))


def test_ranges_become_the_fewest_prefixes() -> None:
    found = spans.networks((spans.span_between("10.0.0.1", "10.0.0.4"),))
    assert list(map(str, found)) == ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]


PREFIXES = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "fd7a::/48", "fd7a::1/128"]


@pytest.mark.parametrize("text", ["10.1.2.3", "10.1.2.4", "10.2.0.0", "9.0.0.0", "fd7a::1", "fd7b::"])
def test_an_index_finds_all_sets_around_an_address(text: str) -> None:
    ranges = spans.union((spans.of(["10.1.2.0/24"]), (spans.span_between("10.1.2.4", "10.1.3.4"),)))
    index = PrefixIndex([*((n, spans.of([one])) for n, one in enumerate(PREFIXES)), (99, ranges)])
    address = ip_address(text)
    wanted = {n for n, one in enumerate(PREFIXES) if address in ip_network(one)}
    wanted |= {99} if spans.contains(ranges, spans.number(address)) else set()
    assert set(index.containing(spans.number(address))) == wanted


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=20), st.integers(0, 255))
def test_an_index_finds_all_sets_that_overlap(prefixes: list[tuple[int, int]], last: int) -> None:
    nets = [ip_network(f"10.0.0.{low}/{length}", strict=False) for low, length in prefixes]
    index = PrefixIndex((n, spans.of([net])) for n, net in enumerate(nets))
    for length in (24, 28, 32):
        asked = ip_network(f"10.0.0.{last}/{length}", strict=False)
        wanted = {n for n, net in enumerate(nets) if net.overlaps(asked)}  # type: ignore[arg-type]
        assert index.overlapping(spans.of([asked])) == wanted
