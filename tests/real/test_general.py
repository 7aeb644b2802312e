"""What any tailnet must do for its nodes, as their users see it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from real.client import NEWEST, OLDEST, Client
from real.scenario import Tailnet, all_ping, by_address, by_name, everything, label, sees_all
from real.service import EPHEMERAL_SECONDS, Service
from real.wait import together, until, until_each

BOTH = (NEWEST, OLDEST)
MakeTailnet = Callable[..., Tailnet]


def joined(tailnet: Tailnet, versions: tuple[str, ...] = BOTH, flags: tuple[str, ...] = ()) -> list[Client]:
    """Clients of one user, joined with one reusable key, that all see each other."""
    key = tailnet.auth_key(tailnet.create_user("alice"), "--reusable", *flags)
    clients = tailnet.join(key, versions)
    sees_all(clients)
    return clients


def peer(viewer: Client, client: Client) -> dict[str, object]:
    return viewer.peers()[label(client)]


def test_everyone_reaches_everyone_through_any_cluster(make_tailnet: MakeTailnet, service: Service) -> None:
    """One node comes through nginx and any process, one through each cluster's own URL."""
    tailnet = make_tailnet()
    clients = tailnet.machines((NEWEST, OLDEST, NEWEST))
    clients[0].login_server = service.any_url
    clients[1].login_server = service.b1.url
    key = tailnet.auth_key(tailnet.create_user("alice"), "--reusable")
    together(lambda client: client.up(key), clients)
    all_ping(clients, everything)
    until_each("feels well", clients, lambda client: not client.status()["Health"], 20)


@pytest.mark.parametrize("cluster", [1, 2], ids=["server-in-utc", "server-in-newfoundland"])
def test_ephemeral_nodes_vanish_at_logout_and_not_before(make_tailnet: MakeTailnet, cluster: int) -> None:
    tailnet = make_tailnet(cluster)
    user = tailnet.create_user("alice")
    stays = tailnet.join(tailnet.auth_key(user), [NEWEST])
    ephemeral = tailnet.join(tailnet.auth_key(user, "--ephemeral", "--reusable"), BOTH)
    all_ping(stays + ephemeral, by_address)
    leaver, active = ephemeral
    gone = label(leaver)
    leaver.logout()
    until("the one that logged out to be gone", lambda: gone not in tailnet.nodes(), 20)
    until("its peers to lose it", lambda: gone not in stays[0].peers() and gone not in active.peers(), 20)
    assert {label(stays[0]), label(active)} == set(tailnet.nodes())
    all_ping([*stays, active], by_address)


@pytest.mark.slow
def test_an_ephemeral_node_without_power_is_removed_in_its_time_and_an_active_one_is_not(
    tailnet: Tailnet,
) -> None:
    """The shortest inactivity timeout that the configuration allows is a little over a minute."""
    active, lost = joined(tailnet, flags=("--ephemeral",))
    name = label(lost)
    lost.kill()
    until("it to be offline", lambda: not tailnet.nodes()[name].get("online"), 40)
    until("it to be gone", lambda: name not in tailnet.nodes(), EPHEMERAL_SECONDS + 30, every=1)
    assert set(tailnet.nodes()) == {label(active)}
    assert active.running


def test_a_hostname_changed_on_the_client_reaches_peers_until_an_admin_renames(tailnet: Tailnet) -> None:
    renamed, viewer = joined(tailnet)
    address = renamed.ipv4
    renamed.cli("set", "--hostname=Fresh-Name")
    until("the peer to see it", lambda: "fresh-name" in viewer.peers(), 20)
    until("its name to answer", lambda: viewer.pings("fresh-name", seconds=1), 20)
    assert tailnet.nodes()["fresh-name"]["name"].lower() == "fresh-name"

    tailnet.cli("nodes", "rename", "-i", tailnet.node_id(renamed), "chosen")
    until("the peer to see the admin's name", lambda: "chosen" in viewer.peers(), 20)
    renamed.cli("set", "--hostname=another")
    until("the server to hear", lambda: tailnet.nodes()["chosen"]["name"] == "another", 20)
    assert "another" not in viewer.peers()
    until("the admin's name to answer", lambda: viewer.pings("chosen", seconds=1), 20)
    assert renamed.ipv4 == address


def test_an_expired_node_is_cut_off_and_shown_as_expired(tailnet: Tailnet) -> None:
    expired, *others = joined(tailnet, (NEWEST, OLDEST, NEWEST))
    all_ping([expired, *others], by_address)
    address, name = expired.ipv4, label(expired)
    tailnet.cli("nodes", "expire", "-i", tailnet.node_id(expired))
    until_each("sees it expired", others, lambda other: other.peers()[name].get("Expired"), 20)
    assert not any(other.pings(address, seconds=0.5) for other in others)
    until("it to ask for a login", lambda: expired.status()["BackendState"] == "NeedsLogin", 20)
    all_ping(others, by_address)


def test_an_expiry_in_the_future_reaches_everyone_and_can_be_taken_back(tailnet: Tailnet) -> None:
    client, viewer = joined(tailnet)
    when = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    node = tailnet.node_id(client)
    tailnet.cli("nodes", "expire", "-i", node, "--expiry", when.strftime("%Y-%m-%dT%H:%M:%SZ"))
    until("the peer to see the time", lambda: key_expiry(peer(viewer, client)) == when, 20)
    until("itself to see the time", lambda: key_expiry(client.status()["Self"]) == when, 20)
    assert tailnet.nodes()[label(client)]["expiry"]["seconds"] == int(when.timestamp())

    tailnet.cli("nodes", "expire", "-i", node, "--disable")
    until("the peer to see none", lambda: key_expiry(peer(viewer, client)) is None, 20)
    until("itself to see none", lambda: key_expiry(client.status()["Self"]) is None, 20)
    assert viewer.pings(client.ipv4)


def key_expiry(status: dict[str, object]) -> datetime | None:
    text = str(status.get("KeyExpiry") or "")
    return datetime.fromisoformat(text) if text and not text.startswith("0001") else None


def test_nodes_stay_online_to_each_other(tailnet: Tailnet) -> None:
    clients = joined(tailnet, (NEWEST, OLDEST, NEWEST))
    end = time.monotonic() + 12  # longer than the grace after which a lost stream counts
    while time.monotonic() < end:
        for client in clients:
            shown = {name: each["Online"] for name, each in client.peers().items()}
            assert len(shown) == 2, shown
            assert all(shown.values()), shown
        assert all(node.get("online") for node in tailnet.nodes().values())


def test_a_lost_node_is_shown_offline_and_then_online_again(tailnet: Tailnet) -> None:
    lost, viewer = joined(tailnet)
    name = label(lost)
    lost.kill()
    until("the peer to see it offline", lambda: viewer.peers()[name]["Online"] is False, 40)
    lost.start()
    until("the peer to see it online", lambda: viewer.peers()[name]["Online"] is True, 20)
    all_ping([lost, viewer], by_address)


def test_down_and_up_five_times(tailnet: Tailnet) -> None:
    clients = joined(tailnet)
    for _ in range(5):
        together(Client.down, clients)
        assert [client.status()["BackendState"] for client in clients] == ["Stopped", "Stopped"]
        together(lambda client: client.cli("up"), clients)
        all_ping(clients, by_address)


def test_deleting_an_online_node_leaves_the_rest_alone(tailnet: Tailnet, service: Service) -> None:
    deleted, *others = joined(tailnet, (NEWEST, OLDEST, NEWEST))
    name, address = label(deleted), deleted.ipv4
    tailnet.cli("nodes", "delete", "-i", tailnet.node_id(deleted), "--force")
    until_each("loses it", others, lambda other: name not in other.peers(), 20)
    assert not any(other.pings(address, seconds=0.5) for other in others)
    until("it to be out", lambda: not deleted.running, 30)
    all_ping(others, by_name)
    assert all(process.process and process.process.alive for process in service.processes)
