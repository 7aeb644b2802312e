"""The HTTP/1.1 part of `/ts2021`: what the official client sends, and what it accepts."""

import base64

from headscale_saas.errors import ProtocolError
from headscale_saas.swarm.http2 import Headers

PROTOCOL = "tailscale-control-protocol"
MAX_REPLY = 16 << 10


def upgrade_request(authority: str, initiation: bytes) -> bytes:
    handshake = base64.b64encode(initiation).decode()
    return (
        f"POST /ts2021 HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: Go-http-client/1.1\r\n"
        f"Content-Length: 0\r\nConnection: upgrade\r\nUpgrade: {PROTOCOL}\r\n"
        f"X-Tailscale-Handshake: {handshake}\r\n\r\n"
    ).encode()


def after_upgrade(reply: bytes) -> bytes | None:
    """What follows the reply's head; None while it is not all there. Raises ProtocolError if it refuses."""
    head, found, rest = reply.partition(b"\r\n\r\n")
    if not found:
        if len(reply) > MAX_REPLY:
            raise ProtocolError("the upgrade's reply is too long")
        return None
    status, *lines = head.decode("latin-1").split("\r\n")
    if status.split(" ")[1:2] != ["101"]:
        raise ProtocolError(f"unexpected HTTP response: {status[:200]}")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("upgrade") != PROTOCOL:
        raise ProtocolError("the server switched to another protocol")
    return rest


def inner_headers(authority: str, method: str, path: str, body: bytes, headers: Headers) -> Headers:
    """Of a request inside the channel, as Go's client orders them; the scheme is always https."""
    return [
        (":authority", authority),
        (":method", method),
        (":path", path),
        (":scheme", "https"),
        *headers,
        ("content-length", str(len(body))),
        ("accept-encoding", "gzip"),
        ("user-agent", "Go-http-client/2.0"),
    ]
