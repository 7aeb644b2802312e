"""Requests that leave HTTP: what the edge offers, and the two forms of `/ts2021` (`controlhttpserver.go`)."""

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from headscale_saas.errors import Invalid
from headscale_saas.transport.connection import Host, NoiseConnection, Opening
from headscale_saas.transport.gate import Ticket
from headscale_saas.transport.websocket import WebSocket

PROTOCOL = "tailscale-control-protocol"
HANDSHAKE = "x-tailscale-handshake"
_MAX_HANDSHAKE = 1024

SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n\r\n"
)
REFUSED = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 18\r\n\r\n"
    b"handshake refused\n"
)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request without a body that asks for another protocol. Header names are in lower case.

    `protocol` is the `Upgrade` header in lower case. `ticket` is left when the newcomer is no stranger.
    """

    peer: str
    method: str
    path: str
    query: str
    protocol: str
    headers: dict[str, str]
    ticket: Ticket


Acceptor = Callable[[Upgrade], asyncio.Protocol]
"""Gives the protocol that takes the socket over; it then gets `connection_made` and what was read already.

Raises Invalid for a request it does not like, which is answered with 400.
"""


def control_acceptor(host: Host) -> Acceptor:
    """`POST /ts2021` natively, or `GET` as a WebSocket for clients in browsers."""

    def accept(upgrade: Upgrade) -> asyncio.Protocol:
        if upgrade.protocol == PROTOCOL and upgrade.method == "POST":
            return _native(host, upgrade)
        if upgrade.protocol == "websocket" and upgrade.method == "GET":
            return _websocket(host, upgrade)
        raise Invalid("unknown Upgrade", field="upgrade")

    return accept


def _native(host: Host, upgrade: Upgrade) -> NoiseConnection:
    initiation = _handshake(upgrade.headers.get(HANDSHAKE, ""))
    opening = Opening(initiation, preamble=SWITCHING, refusal=REFUSED, early=True)
    return NoiseConnection(host, upgrade.peer, upgrade.ticket, opening)


def _websocket(host: Host, upgrade: Upgrade) -> WebSocket:
    """Any origin may connect, so nothing the browser adds by itself (cookies, Authorization) is looked at."""
    offered = upgrade.headers.get("sec-websocket-protocol", "").split(",")
    if PROTOCOL not in [offer.strip() for offer in offered]:
        raise Invalid("wrong WebSocket subprotocol", field="sec-websocket-protocol")
    values = {name.lower(): value for name, value in _fields(upgrade.query).items()}
    initiation = _handshake(values.get(HANDSHAKE, [""])[0])
    opening = Opening(initiation, preamble=b"", refusal=b"", early=False)
    inner = NoiseConnection(host, upgrade.peer, upgrade.ticket, opening)
    return WebSocket(inner, upgrade.headers, PROTOCOL, host.around.limits, host.around.loop.time)


def _fields(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, max_num_fields=10)
    except ValueError as error:
        raise Invalid("too many query fields", field="query") from error


def _handshake(text: str) -> bytes:
    if not text or len(text) > _MAX_HANDSHAKE:
        raise Invalid("missing handshake", field=HANDSHAKE)
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("handshake is not base64", field=HANDSHAKE) from error
