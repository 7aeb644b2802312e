"""A client against the least peer that it can live with."""

import asyncio
import os

import pytest
from fake_peer import FakePeer, Knobs
from tests.waiting import until

from headscale_saas.errors import ProtocolError, Refused, Unavailable
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.oracle import IsolationBroken
from headscale_saas.swarm.replies import UnexpectedStatus
from headscale_saas.swarm.site import Site
from headscale_saas.tailcfg.control import PingRequest
from headscale_saas.tailcfg.maps import MapResponse


async def test_a_client_joins_and_sees_its_peers() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as one, Client(peer.url, tailnet="a") as two:
        await one.join("a")
        await two.join("a")
        await two.netmap_where(lambda netmap: len(netmap.peers) == 1)
        assert [node.name for node in two.netmap.peers.values()] == [one.hostname]


async def test_the_early_payload_may_be_left_out() -> None:
    async with FakePeer(Knobs(early=False)) as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        assert client.calls.live().challenge is None


async def test_the_challenge_of_the_early_payload_is_kept() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        assert client.calls.live().challenge is not None


async def test_a_peer_hears_of_changed_endpoints() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as one, Client(peer.url, tailnet="a") as two:
        await one.join("a")
        await two.join("a")
        await one.update_endpoints(["198.51.100.7:41641"])
        await two.netmap_where(
            lambda netmap: [node.endpoints for node in netmap.peers.values()] == [("198.51.100.7:41641",)]
        )


async def test_a_refused_key_says_the_servers_words() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        with pytest.raises(Refused, match="auth key not valid"):
            await client.join("bad")


async def test_a_join_that_wants_a_person_gives_the_url_and_can_be_followed_up() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        with pytest.raises(Refused) as refusal:
            await client.join()
        assert refusal.value.code == "auth_url"
        await client.register(followup=refusal.value.message)
        await client.start_polling()
        assert client.netmap.node is not None


async def test_logout_asks_for_an_expiry_in_the_past_and_stops_polling() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        await client.logout("a")
        assert peer.expiries[-1].timestamp() == 123
        assert not client.poller.is_wanted


async def test_a_rotated_key_names_the_old_one_and_polls_under_the_new() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        old = client.identity.node_key
        await client.rotate("a")
        assert client.identity.old_node_key == old
        assert client.netmap.node
        assert client.netmap.node.key == client.identity.node_key


@pytest.mark.parametrize("loss", ["drop", "server", "goaway"])
async def test_a_client_comes_back_by_itself(loss: str) -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        if loss == "drop":
            await client.reconnect()
        else:
            again = asyncio.create_task(client.inbox.full(5))
            await asyncio.sleep(0)
            peer.drop_all() if loss == "server" else peer.go_away()
            if loss == "goaway":  # the streams before it go on, until the server closes
                assert client.inbox.full_netmaps == 1
                peer.drop_all()
            await again
        assert client.inbox.full_netmaps == 2
        assert client.calls.dials == 2


async def test_without_reconnects_a_lost_poll_stays_lost() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a", reconnects=False) as client:
        await client.join("a")
        client.drop()
        await client.poller.finished()
        assert isinstance(client.troubles[-1], Unavailable)


async def test_a_client_that_vanished_sends_no_packet() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        if not client.vanish():
            pytest.skip("needs CAP_NET_ADMIN")
        await client.calls.live().gone
        assert len(peer.sessions) == 1
        peer.keep_alive()  # answered by RST, as by a host that was started anew
        await until(lambda: not peer.sessions)


async def test_a_stalled_client_reads_nothing_until_it_goes_on() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        client.stall()
        peer.tell("a", MapResponse(domain="x.example"))
        client.unstall()
        await client.netmap_where(lambda netmap: netmap.domain == "x.example")


async def test_a_refused_poll_is_tried_again_with_backoff() -> None:
    async with FakePeer(Knobs(map_status=404)) as peer, Client(peer.url, tailnet="a") as client:
        with pytest.raises(TimeoutError):
            await client.join("a", timeout=0.2)
        assert 2 <= len(client.troubles) <= 6
        assert isinstance(client.troubles[0], UnexpectedStatus)
        assert client.troubles[0].text == "no such node"


async def test_a_first_message_without_a_node_ends_the_poll() -> None:
    async with (
        FakePeer(Knobs(first_message=b'{"Peers":[]}')) as peer,
        Client(peer.url, tailnet="a") as client,
    ):
        with pytest.raises(TimeoutError):
            await client.join("a", timeout=0.1)
        assert any("lacked node" in str(trouble) for trouble in client.troubles)


async def test_keep_alives_are_heard_and_change_nothing() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        before, frames = client.netmap, client.inbox.frames
        peer.keep_alive()
        await until(lambda: client.inbox.frames > frames)
        assert client.netmap is before


async def test_a_foreign_mark_in_any_message_is_found() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        other = Client(client.site, tailnet="b")
        peer.tell("a", MapResponse(domain=f"{other.hostname}.example"))
        with pytest.raises(IsolationBroken):
            await client.netmap_where(lambda netmap: netmap.domain != "")
        client.site.oracle.count = 0  # that was all; leaving the client would find it too


async def test_a_foreign_endpoint_is_found_too() -> None:
    site = Site("http://127.0.0.1:1")
    mark, other = Client(site, tailnet="a").mark, Client(site, tailnet="b").mark
    site.oracle.check(mark, mark.endpoint(1).encode() + mark.text.encode(), "here")
    site.oracle.demand_clean()
    site.oracle.check(mark, other.endpoint(1).encode(), "here")
    with pytest.raises(IsolationBroken, match="here"):
        site.oracle.demand_clean()


async def test_a_netmap_larger_than_all_windows_arrives() -> None:
    filler = b" " * 6_000_000
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        peer.tell("a", b'{"Domain":"' + os.urandom(3_000_000).hex().encode() + b'"}' + filler)
        await client.netmap_where(lambda netmap: len(netmap.domain) == 6_000_000)


async def test_pings_over_noise_are_answered() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        await client.join("a")
        peer.tell(
            "a", MapResponse(ping_request=PingRequest(url="https://unused/machine/ping/1", url_is_noise=True))
        )
        await until(lambda: ("HEAD", "/machine/ping/1") in peer.requests)


async def test_anything_else_may_be_asked_inside_noise() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a") as client:
        body = b"x" * 60_000
        assert await client.request("GET", "/machine/whoami", body) == (200, body)


async def test_a_server_that_does_not_upgrade_is_refused() -> None:
    http = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
    async with FakePeer(Knobs(http=http)) as peer, Client(peer.url, tailnet="a") as client:
        with pytest.raises(ProtocolError, match="502"):
            await client.join("a")


async def test_a_client_that_only_counts_still_sees_what_is_watched() -> None:
    async with FakePeer() as peer, Client(peer.url, tailnet="a", decodes=False) as client:
        await client.join("a")
        seen = client.inbox.watch(b"x.example")
        peer.tell("a", MapResponse(domain="x.example"))
        assert (await seen).size > 4
        assert client.inbox.netmap is None
