"""What every actor is answered at every endpoint. A new endpoint needs a row, else the tests fail.

An answer is a status and a part of the body. For the control protocol, inside Noise:

nobody      a machine that no tailnet knows, naming the node key of acme's node
neighbour   a node of another tailnet, naming the node key of acme's node
expired     a node of acme whose key has expired, naming its own
node        a node of acme, naming its own
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from headscale_saas.swarm.client import LOGOUT, Client
from headscale_saas.swarm.sayings import map_request, register_request
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.control import QueryFeatureRequest
from headscale_saas.tailcfg.keys import DiscoKey, NodeKey

Answer = tuple[int, str]
Body = Callable[[Client, NodeKey], bytes]
"""What this client sends to be taken for the holder of that key."""


class Row(NamedTuple):
    """One way to ask one endpoint. `path` is the one asked, where the endpoint is a prefix."""

    endpoint: tuple[str, str]
    way: str
    body: Body
    nobody: Answer
    neighbour: Answer
    expired: Answer
    node: Answer
    streams: bool = False
    method: str = ""
    path: str = ""


def register(client: Client, key: NodeKey, **changes: object) -> bytes:
    request = register_request(
        client.said, auth_key="", followup="", expiry=None, ephemeral=False, tailnet=""
    )
    return encode(msgspec.structs.replace(request, node_key=key, **changes))


def renew(client: Client, key: NodeKey) -> bytes:
    """A new key, naming that one as the one before."""
    return register(client, NodeKey(bytes(range(32))), old_node_key=key)


def log_out(client: Client, key: NodeKey) -> bytes:
    return register(client, key, expiry=LOGOUT)


def report(client: Client, key: NodeKey) -> bytes:
    request = map_request(client.said, stream=False)
    return encode(
        msgspec.structs.replace(
            request,
            node_key=key,
            disco_key=DiscoKey(bytes(range(32))),
            endpoints=(client.mark.endpoint(4711),),
        )
    )


def look(client: Client, key: NodeKey) -> bytes:
    request = map_request(client.said, stream=False)
    return encode(
        msgspec.structs.replace(request, node_key=key, read_only=True, omit_peers=False, compress="")
    )


def follow(client: Client, key: NodeKey) -> bytes:
    return encode(msgspec.structs.replace(map_request(client.said, stream=True), node_key=key))


def nothing(client: Client, key: NodeKey) -> bytes:
    return b"{}"


def feature(client: Client, key: NodeKey) -> bytes:
    return encode(QueryFeatureRequest(feature="serve", node_key=key))


def for_all(answer: Answer) -> dict[str, Answer]:
    return dict.fromkeys(("nobody", "neighbour", "expired", "node"), answer)


REGISTER, MAP = ("POST", "/machine/register"), ("POST", "/machine/map")
TAKEN = (200, '"Error":"this node key is in use')
NOT_FOUND, DROPPED, NOT_BUILT = (404, "not found"), (204, ""), (501, "not implemented")

MACHINE = [
    Row(REGISTER, "as it is", register, TAKEN, TAKEN, (200, '"NodeKeyExpired":true'), (200, '"Error":""')),
    Row(REGISTER, "with a new key", renew, TAKEN, TAKEN, (200, "/register/"), (200, "/register/")),
    Row(
        REGISTER, "to log out", log_out, TAKEN, TAKEN, (200, '"NodeKeyExpired":true'), (200, "NodeKeyExpired")
    ),
    Row(MAP, "to report", report, NOT_FOUND, NOT_FOUND, (403, "expired"), (200, "")),
    Row(MAP, "to look", look, NOT_FOUND, NOT_FOUND, (200, "KeyExpiry"), (200, "Peers")),
    Row(MAP, "to follow", follow, NOT_FOUND, NOT_FOUND, (200, ""), (200, ""), streams=True),
    Row(("POST", "/machine/update-health"), "", nothing, **for_all((200, "{}"))),
    Row(("POST", "/machine/audit-log"), "", nothing, **for_all((200, "{}"))),
    Row(("POST", "/machine/feature/query"), "", feature, **for_all((200, "not available"))),
    Row(("GET", "/machine/whoami"), "", nothing, **for_all((200, "You are mkey:"))),
    Row(("HEAD", "/machine/ping-response"), "", nothing, **for_all(DROPPED)),
    Row(("POST", "/machine/ping-response"), "", nothing, **for_all(DROPPED)),
    Row(("*", "/machine/c2n…"), "", nothing, **for_all(DROPPED), path="/machine/c2n/1"),
    Row(("*", "/machine/set-dns…"), "", nothing, **for_all(NOT_BUILT), path="/machine/set-dns"),
    Row(
        ("*", "/machine/set-device-attr…"), "", nothing, **for_all(NOT_BUILT), path="/machine/set-device-attr"
    ),
    Row(("*", "/machine/id-token…"), "", nothing, **for_all(NOT_BUILT), path="/machine/id-token"),
    Row(("*", "/machine/tka/…"), "", nothing, **for_all(NOT_BUILT), path="/machine/tka/bootstrap"),
    Row(("*", "/machine/webclient/…"), "", nothing, **for_all(NOT_BUILT), path="/machine/webclient/init"),
    Row(("*", "/machine/ssh/…"), "", nothing, **for_all(NOT_BUILT), path="/machine/ssh/action"),
]

LOGIN_ID = "a" * 24

PUBLIC: dict[str, dict[str, Answer]] = {
    "/key": {
        "/key?v=142": (200, '"publicKey":"mkey:'),
        "/key": (400, "capability version must be set"),
        "/key?v=x": (400, "invalid capability version"),
        "/key?v=1": (400, "too old"),
    },
    "/health": {"/health": (200, '"status":"pass"')},
    "/version": {"/version": (200, '"version"')},
    "/robots.txt": {"/robots.txt": (200, "Disallow: /")},
    "/generate_204": {"/generate_204": (204, "")},
    "/register/{login_id}": {
        "/register/<script>": (400, "invalid auth id"),
        f"/register/hskey-authreq-{LOGIN_ID}": (200, "headscale auth register"),
    },
    "/": {"/": (200, "")},
}
"""Without Noise, where everybody is anybody."""

UPGRADES: dict[str, Answer] = {"/ts2021": (400, "missing Upgrade")}
"""Paths that leave HTTP, asked without wanting to."""

ABSENT = (
    "/metrics",
    "/verify",
    "/api/v1/node",
    "/api/v2/device/1",
    "/debug/",
    "/key/",
    "//key",
    "/machine/map/",
)
"""What is not here, or not on this address."""
