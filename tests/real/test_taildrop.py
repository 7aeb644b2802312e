"""Files from device to device: to one's own, and to nobody else's."""

import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from real.client import NEWEST, OLDEST, Client
from real.scenario import Hosts, Tailnet, label, sees_all
from real.service import Service
from real.wait import until

# Sends a body to a URL past the client's own judgement of who may receive it; prints the status.
PUT = """
import sys, urllib.error, urllib.request
try:
    request = urllib.request.Request(sys.argv[1], data=b"unasked for", method="PUT")
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as refusal:
    print(refusal.code)
"""
ONE_PORT_FOR_ALL = {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:22"]}]}


class People(NamedTuple):
    """Devices of two users, and one of nobody's."""

    tailnet: Tailnet
    new: Client
    old: Client
    other: Client
    tagged: Client


@pytest.fixture(scope="module")
def people(service: Service, machines: Hosts, numbers: Iterator[int]) -> Iterator[People]:
    """Alice has the newest client and the oldest, Bob the newest, and the server the oldest."""
    tailnet = Tailnet(service, machines, f"net{next(numbers)}")
    try:
        alice, bob = tailnet.create_user("alice"), tailnet.create_user("bob")
        new, old = tailnet.join(tailnet.auth_key(alice, "--reusable"), (NEWEST, OLDEST))
        [other] = tailnet.join(tailnet.auth_key(bob), [NEWEST])
        [tagged] = tailnet.join(tailnet.auth_key(alice, "--tags", "tag:server"), [OLDEST])
        sees_all(tailnet.clients)
        yield People(tailnet, new, old, other, tagged)
    finally:
        machines.take_back()


def send(sender: Client, receiver: Client) -> bytes:
    """Sends a file of some megabytes; what is in it. CommandError if the client refuses."""
    file = sender.host.directory / "letter.bin"
    file.write_bytes(content := os.urandom(3 << 20))
    sender.cli("file", "cp", str(file), f"{label(receiver)}:")
    return content


def received(receiver: Client) -> dict[str, bytes]:
    """Takes the files that have arrived, by name."""
    inbox = receiver.host.directory / "inbox"
    inbox.mkdir(exist_ok=True)
    receiver.cli("file", "get", str(inbox))
    files = {file.name: file.read_bytes() for file in inbox.iterdir()}
    for name in files:
        (inbox / name).unlink()
    return files


def nothing_waits(receiver: Client) -> bool:
    """By its disk: the oldest client's `file get` hangs where nothing is."""
    return not [path for path in (receiver.state / "files").rglob("*") if path.is_file()]


def put(sender: Client, receiver: Client) -> int:
    """The status that the receiver itself answers a file with."""
    urls = sender.peers()[label(receiver)]["PeerAPIURL"]
    return int(sender.host.run(sys.executable, "-Ic", PUT, f"{urls[0]}/v0/put/letter.txt").stdout)


def test_a_file_arrives_whole_at_a_device_of_the_same_user(people: People) -> None:
    for sender, receiver in ((people.new, people.old), (people.old, people.new)):
        content = send(sender, receiver)
        assert received(receiver) == {"letter.bin": content}


def test_a_device_of_another_user_is_no_target(people: People) -> None:
    for sender, receiver in ((people.other, people.old), (people.old, people.other)):
        assert "different user" in refusal(sender, receiver)
    assert nothing_waits(people.other)
    assert nothing_waits(people.old)


def test_a_tagged_device_is_nobodys(people: People) -> None:
    for sender, receiver in ((people.new, people.tagged), (people.tagged, people.new)):
        assert "different user" in refusal(sender, receiver)


def refusal(sender: Client, receiver: Client) -> str:
    (sender.host.directory / "letter.bin").write_bytes(b"not for you")
    return sender.refuses("file", "cp", str(sender.host.directory / "letter.bin"), f"{label(receiver)}:")


def test_the_receiver_itself_refuses_strangers(people: People) -> None:
    """Whatever the sender's client thinks."""
    for owned in (people.new, people.old):
        assert put(people.other, owned) == 403
        assert put(people.tagged, owned) == 403
        assert nothing_waits(owned)
    assert put(people.new, people.old) == 200
    assert not nothing_waits(people.old)
    assert received(people.old) == {"letter.txt": b"unasked for"}


def test_a_policy_about_ports_makes_no_difference(people: People) -> None:
    people.tailnet.set_policy(ONE_PORT_FOR_ALL)
    content = send(people.new, people.old)
    assert received(people.old) == {"letter.bin": content}
    assert "different user" in refusal(people.other, people.old)
    assert put(people.other, people.old) == 403


def test_nothing_is_sent_where_nothing_is_seen(people: People) -> None:
    assert put(people.new, people.old) == 200
    people.tailnet.set_policy({"acls": []})
    name = label(people.old)
    until("the other to be gone", lambda: name not in people.new.peers(), 10)
    with pytest.raises(AssertionError):
        send(people.new, people.old)
