"""Addresses are given in order, around what belongs to others."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.tailnet import addresses
from headscale_saas.tailnet.model import DEFAULT_PREFIX_V4, DEFAULT_PREFIX_V6


def test_the_first_node_gets_the_addresses_that_headscale_gives():
    assert addresses.first(DEFAULT_PREFIX_V4) == IPv4Address("100.64.0.1")
    assert addresses.first(DEFAULT_PREFIX_V6) == IPv6Address("fd7a:115c:a1e0::1")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("100.100.100.99", "100.100.100.101"),
        ("100.115.91.255", "100.115.94.0"),
        ("100.64.0.255", "100.64.1.0"),
        ("100.127.255.253", "100.127.255.254"),
    ],
)
def test_reserved_addresses_are_passed_over(before: str, after: str):
    assert addresses.after(DEFAULT_PREFIX_V4, IPv4Address(before)) == IPv4Address(after)


def test_the_v6_twin_of_the_dns_address_is_passed_over():
    before = IPv6Address("fd7a:115c:a1e0::52")
    assert addresses.after(DEFAULT_PREFIX_V6, before) == IPv6Address("fd7a:115c:a1e0::54")


def test_the_broadcast_address_ends_a_network():
    assert addresses.after(DEFAULT_PREFIX_V4, IPv4Address("100.127.255.254")) is None
    tiny = IPv4Network("100.64.0.0/30")
    assert addresses.after(tiny, IPv4Address("100.64.0.1")) == IPv4Address("100.64.0.2")
    assert addresses.after(tiny, IPv4Address("100.64.0.2")) is None


def test_a_range_that_is_reserved_as_a_whole_has_no_first_address():
    assert addresses.first(IPv4Network("100.100.100.100/32")) is None
    assert addresses.first(IPv4Network("100.115.92.0/24")) is None


@given(st.integers(0, 2**16 - 2))
def test_what_comes_next_may_always_be_given(number: int):
    for prefix in (IPv4Network("100.115.0.0/16"), IPv6Network("fd7a:115c:a1e0::/112")):
        following = addresses.after(prefix, prefix[number])
        assert following is None or addresses.may_be_given(prefix, following)


@given(st.randoms(use_true_random=False))
def test_random_addresses_may_always_be_given(random):
    for prefix in (DEFAULT_PREFIX_V4, IPv4Network("100.115.88.0/21"), DEFAULT_PREFIX_V6):
        for address in addresses.at_random(prefix, random.randrange):
            assert addresses.may_be_given(prefix, address)
