"""The server under load: where it is, its Noise key, and whether it is ours to load."""

import asyncio
import ssl
from ipaddress import ip_address
from urllib.parse import urlsplit

from headscale_saas.errors import Forbidden, Invalid, ProtocolError, Unavailable
from headscale_saas.swarm.identity import CAPABILITY_VERSION
from headscale_saas.swarm.oracle import IsolationOracle
from headscale_saas.tailcfg.codec import decode
from headscale_saas.tailcfg.control import OverTLSPublicKeyResponse
from headscale_saas.tailcfg.keys import MachineKey

DIAL_SECONDS = 10.0
MAX_KEY_REPLY = 64 << 10


class Site:
    """What all clients of one server share. `tls` is the context for `/key`; the Noise leg checks no
    certificate, as the official client does not."""

    def __init__(
        self, url: str, *, tls: ssl.SSLContext | None = None, capver: int = CAPABILITY_VERSION
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid("the server's URL is http://HOST[:PORT] or https://HOST[:PORT]", field="url")
        self.host = parts.hostname
        self.is_tls = parts.scheme == "https"
        self.port = parts.port or (443 if self.is_tls else 80)
        self.authority = parts.netloc
        self.capver = capver
        self.oracle = IsolationOracle()
        self._verified = (tls or ssl.create_default_context()) if self.is_tls else None
        self.unverified = _unverified() if self.is_tls else None
        self._key: MachineKey | None = None
        self._asking = asyncio.Lock()

    async def server_key(self) -> MachineKey:
        """The key that Noise needs; asked once and kept, as a running client keeps it."""
        async with self._asking:
            if self._key is None:
                self._key = await self._ask_key()
        return self._key

    async def demand_private(self) -> None:
        """Raises Forbidden unless every address of the host is loopback or private, Unavailable for none."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port)
        except OSError as problem:
            raise Unavailable(f"{self.host}: {problem.strerror}") from None
        for address in {str(info[4][0]).partition("%")[0] for info in found}:
            ip = ip_address(address)
            if not (ip.is_loopback or ip.is_private or ip.is_link_local):
                raise Forbidden(f"{self.host} is {address}: load only a server of your own")

    async def _ask_key(self) -> MachineKey:
        async with asyncio.timeout(DIAL_SECONDS):
            reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self._verified)
            try:
                head = f"GET /key?v={self.capver} HTTP/1.1\r\nHost: {self.authority}\r\nConnection: close"
                writer.write(head.encode() + b"\r\n\r\n")
                status, body = _parted(await _all_of(reader))
            finally:
                writer.close()
        if status != 200:
            raise ProtocolError(f"GET /key: {status} {body[:200]!r}")
        key = decode(OverTLSPublicKeyResponse, body).public_key
        if key.is_zero:
            raise ProtocolError("GET /key: no noise key")
        return key


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    reply = b""
    while part := await reader.read(MAX_KEY_REPLY):
        reply += part
        if len(reply) > MAX_KEY_REPLY:
            raise ProtocolError("GET /key: reply too long")
    return reply


def _parted(reply: bytes) -> tuple[int, bytes]:
    head, _, body = reply.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 3 or not words[1].isdigit():
        raise ProtocolError("GET /key: not an HTTP reply")
    if b"transfer-encoding: chunked" in head.lower():
        body = _unchunked(body)
    return int(words[1]), body


def _unchunked(body: bytes) -> bytes:
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        content, body = content + rest[:length], rest[length + 2 :]
        if not length:
            return content
    raise ProtocolError("GET /key: reply is cut short")


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
