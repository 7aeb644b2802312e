"""What is kept of what a client says of itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.tailcfg.capver import FLOOR, is_supported, wire_class
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.hostinfo import Hostinfo, Location, NetInfo, Service, bounded, usable_endpoints


def test_long_lists_and_strings_are_cut() -> None:
    kept = bounded(
        Hostinfo(
            hostname="h" * 1000,
            os="o" * 1000,
            routable_ips=tuple(f"10.{i // 256}.{i % 256}.0/24" for i in range(1000)),
            request_tags=("tag:x" * 100,) * 100,
            services=(Service(proto="tcp", port=1, description="d" * 1000),) * 1000,
            net_info=NetInfo(derp_latency={f"{i}-v4": 0.1 for i in range(5000)}, link_type="l" * 1000),
            location=Location(city="c" * 1000),
            ssh_host_keys=("k" * 10_000, "ssh-ed25519 AAAA"),
        )
    )
    assert (len(kept.hostname), len(kept.os)) == (255, 256)
    assert (len(kept.routable_ips), len(kept.request_tags), len(kept.services)) == (512, 32, 256)
    assert (len(kept.request_tags[0]), len(kept.services[0].description)) == (256, 64)
    assert kept.net_info is not None
    assert len(kept.net_info.derp_latency or {}) == 512
    assert kept.location == Location(city="c" * 256)
    assert kept.ssh_host_keys == ("ssh-ed25519 AAAA",)


def test_what_is_within_bounds_stays_as_it_is() -> None:
    info = Hostinfo(hostname="a", routable_ips=("10.0.0.0/8", "::/0"), net_info=NetInfo(preferred_derp=1))
    assert bounded(info) == info


@pytest.mark.parametrize(
    "route",
    ["10.0.0.1/8", "10.0.0.1", "", "x/8", "10.0.0.0/33", "2001:db8::%eth0/32", "2001:db8::%\u202e\n/32"],
)
def test_routes_that_are_none_are_dropped(route: str) -> None:
    assert bounded(Hostinfo(routable_ips=(route, "10.0.0.0/8"))).routable_ips == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:1",
        "0.0.0.0:1",
        "224.0.0.1:1",
        "169.254.1.1:1",
        "[::1]:1",
        "[::]:1",
        "[ff02::1]:1",
        "[fe80::1]:1",
        "[2001:db8::1%eth0]:1",
        "[::ffff:127.0.0.1]:1",
        "192.0.2.1",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:+1",
        "192.0.2.1:",
        "[192.0.2.1]:1",
        "2001:db8::1:1",
        "host:1",
        "",
    ],
)
def test_endpoints_that_no_peer_reaches_are_dropped(endpoint: str) -> None:
    assert usable_endpoints([endpoint, "192.0.2.1:41641"]) == ("192.0.2.1:41641",)


def test_endpoints_keep_their_order_once_and_at_most_64() -> None:
    assert usable_endpoints(["[2001:DB8::1]:7", "10.0.0.1:1", "10.0.0.1:1"]) == (
        "[2001:db8::1]:7",
        "10.0.0.1:1",
    )
    assert len(usable_endpoints(f"10.0.{i // 250}.{i % 250}:1" for i in range(1000))) == 64


def test_a_body_full_of_endpoints_is_not_read_to_its_end() -> None:
    texts = iter(["host:1"] * 100_000)
    assert usable_endpoints(texts) == ()
    assert len(list(texts)) > 99_000


def test_what_a_process_holds_of_one_node_is_small() -> None:
    names = [str(number).rjust(1000, "n") for number in range(1000)]
    told = Hostinfo(
        services=(Service(proto="p" * 1000, description="d" * 1000),) * 1000,
        ssh_host_keys=("k" * 2048,) * 1000,
        request_tags=("t" * 1000,) * 1000,
        wol_macs=("w" * 1000,) * 1000,
        routable_ips=tuple(f"fd00:{number:x}::/64" for number in range(1000)),
        net_info=NetInfo(derp_latency=dict.fromkeys(names, 0.5)),
    )
    assert len(encode(bounded(told))) < 128 << 10


@pytest.mark.parametrize("region", [-1, 0, 65536, 2**31 - 1])
def test_a_home_that_cannot_be_one_is_unknown(region: int) -> None:
    assert bounded(Hostinfo(net_info=NetInfo(preferred_derp=region))).net_info == NetInfo()


@given(st.lists(st.text()))
def test_no_text_breaks_the_reading_of_endpoints(texts: list[str]) -> None:
    assert set(usable_endpoints(texts)) <= set(texts)


def test_the_floor_of_versions() -> None:
    assert not is_supported(FLOOR - 1)
    assert is_supported(FLOOR)
    assert wire_class(FLOOR) == wire_class(142)
