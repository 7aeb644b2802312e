"""TLS of our own: what is offered, and which name a client asked for (RFC 6066, 3; RFC 9110, 7.4).

No renegotiation and no early data, so that a record is never replayed and never changes who speaks. Where a
client named a host in its TLS hello, its requests have to mean that host: else something in between that
shares connections could carry requests for one host over the certificate of another.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

_asked: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def server_context(certificates: str | Path, key: str | Path) -> ssl.SSLContext:
    """TLS 1.2 or newer. Both files are PEM; raises ssl.SSLError or OSError for what they are not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificates, key)
    context.sni_callback = _note
    return context


def name_asked_for(transport: asyncio.BaseTransport) -> str | None:
    """The host of the TLS hello; None without TLS, or if it named none. Only of a `server_context`."""
    session = transport.get_extra_info("ssl_object")
    return None if session is None else _asked.get(session)


def is_meant(asked: str, authority: str) -> bool:
    """Whether a `Host` header, which may have a port, is the host of that hello."""
    host, _, port = authority.rpartition(":")
    if not host or not port.isdigit():
        host = authority
    return host.lower().rstrip(".") == asked.lower().rstrip(".")


def _note(session: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    if name is not None:
        _asked[session] = name
