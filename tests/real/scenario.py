"""Tailnets full of official clients, and what "they all reach each other" means."""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from real.client import NEWEST, OLDEST, Client, Json
from real.host import Host
from real.service import Service
from real.wait import together, until_each

VERSIONS = (NEWEST, OLDEST, NEWEST)


class Hosts:
    """The lab's client machines, lent to tests one by one and taken back wiped."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._free = list(hosts)
        self.lent: list[Client] = []

    def lend(self, version: str, login_server: str, hostname: str | None = None) -> Client:
        assert self._free, "the lab has no more client machines"
        client = Client(self._free.pop(0), version, login_server, hostname)
        self.lent.append(client)
        return client

    def take_back(self) -> None:
        """Wipes all that were lent; fails if one of them complained of the server."""
        complaints = [line for client in self.lent for line in client.complaints()]
        together(Client.wipe, self.lent)
        self._free.extend(client.host for client in self.lent)
        self.lent.clear()
        assert not complaints, "\n".join(complaints)


class Tailnet:
    """One tailnet of the service, driven by its CLI."""

    def __init__(self, service: Service, hosts: Hosts, name: str, cluster: int = 1) -> None:
        self.service, self._hosts = service, hosts
        self.name, self.cluster = name, cluster
        self.clients: list[Client] = []
        service.cli("tailnets", "create", name, cluster=cluster)

    @property
    def url(self) -> str:
        return (self.service.a1 if self.cluster == 1 else self.service.b1).url

    def __repr__(self) -> str:
        return self.name

    # Administration.

    def cli(self, *arguments: str) -> str:
        return self.service.cli(*arguments, tailnet=self.name, cluster=self.cluster)

    def ask(self, *arguments: str) -> Any:
        return self.service.ask(*arguments, tailnet=self.name)

    def create_user(self, name: str) -> str:
        """Returns the user's id, as the CLI takes it."""
        user: Json = self.ask("users", "create", name)
        return str(user["id"])

    def auth_key(self, user: str, *flags: str) -> str:
        """A key for a user's id; flags as `preauthkeys create` takes them."""
        return self.cli("preauthkeys", "create", "-u", user, *flags).strip().splitlines()[-1]

    def nodes(self) -> dict[str, Json]:
        """Nodes by name."""
        listed: list[Json] = self.ask("nodes", "list") or []
        return {str(node["given_name"]): node for node in listed}

    def node_id(self, client: Client) -> str:
        return str(self.nodes()[label(client)]["id"])

    def set_policy(self, policy: Json) -> float:
        """Puts a policy in force; the `time.monotonic` at which the command returned."""
        file = self.service.host.directory / f"{self.name}-policy.json"
        file.write_text(json.dumps(policy))
        self.cli("policy", "set", "-f", str(file))
        return time.monotonic()

    # Clients.

    def machines(self, versions: Sequence[str] = VERSIONS, prefix: str = "") -> list[Client]:
        """Fresh machines with their daemons started, that have not joined."""
        made = []
        for version in versions:
            client = self._hosts.lend(version, self.url)
            client.hostname = f"{prefix or self.name}-{client.host.name}"
            made.append(client)
        together(Client.start, made)
        self.clients += made
        return made

    def join(
        self, key: str, versions: Sequence[str] = VERSIONS, *flags: str, prefix: str = ""
    ) -> list[Client]:
        """Machines that joined with an auth key."""
        made = self.machines(versions, prefix)
        together(lambda client: client.up(key, *flags), made)
        return made


def pairs(clients: Sequence[Client]) -> list[tuple[Client, Client]]:
    return list(itertools.permutations(clients, 2))


def label(client: Client) -> str:
    """The first label of its MagicDNS name."""
    return client.name.split(".")[0]


def sees_all(clients: Sequence[Client], seconds: float = 20) -> None:
    """Waits until every client has all others as peers."""
    names = {label(client) for client in clients}

    until_each(f"sees {names}", clients, lambda client: names <= {*client.peers(), label(client)}, seconds)


def all_ping(
    clients: Sequence[Client], targets: Callable[[Client], Iterable[str]], seconds: float = 30
) -> None:
    """Waits until each client has had an answer to a real `ping` from each target of each other."""
    sees_all(clients)
    wanted = {client: list(targets(client)) for client in clients}
    each = [(source, target) for source, other in pairs(clients) for target in wanted[other]]

    until_each("ping is answered", each, lambda pair: pair[0].pings(pair[1], seconds=1), seconds)


def by_address(client: Client) -> list[str]:
    return client.addresses()


def by_name(client: Client) -> list[str]:
    """The MagicDNS name, whole and its first label alone."""
    return [client.name, label(client)]


def everything(client: Client) -> list[str]:
    return by_address(client) + by_name(client)
