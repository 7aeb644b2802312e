"""Listening addresses in Go's writing: `host:port`, `:port`, `[::1]:port`, `host:http`."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

NAMED_PORTS = {"http": 80, "https": 443}
WRITTEN = re.compile(r"(?:\[([0-9a-fA-F:.%]*)\]|([^:\[\]]*)):(\d{1,5}|http|https)")


def host_port(address: str) -> tuple[str, int]:
    """`("", 8080)` for `:8080`: an empty host means every address. Raises ValueError."""
    found = WRITTEN.fullmatch(address)
    port = NAMED_PORTS.get(found[3]) or int(found[3]) if found else -1
    if not found or not 0 <= port <= 65535:
        raise ValueError(f"{address!r} is not host:port")
    return found[1] or found[2] or "", port


def _check(address: str) -> str:
    if address:
        host_port(address)
    return address


HostPort = Annotated[str, AfterValidator(_check)]
"""Text that `host_port` takes; empty where the listener is off."""


def client_facing_url(listen_addr: str, *, tls: bool) -> str:
    """The URL clients on this machine reach `listen_addr` at: the best guess when none was given."""
    host, port = host_port(listen_addr)
    if host in {"", "0.0.0.0", "::"}:
        host = "127.0.0.1"
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def host_of(url: str) -> str:
    """The host name in a URL, lower case; empty if there is none or it is not a URL."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
