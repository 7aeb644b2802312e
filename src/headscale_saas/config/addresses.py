"""Listening addresses in Go's writing: `host:port`, `:port`, `[::1]:port`, `host:http`."""

import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

NAMED_PORTS = {"http": 80, "https": 443}
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
WRITTEN = re.compile(r"(?:\[([0-9a-fA-F:.%]*)\]|([^:\[\]]*)):(\d{1,9}|http|https)")


def host_port(address: str) -> tuple[str, int]:
    """`("", 8080)` for `:8080`: an empty host means every address. Raises ValueError."""
    found = WRITTEN.fullmatch(address)
    if not found:
        raise ValueError(f"{address!r} is not host:port")
    port = NAMED_PORTS.get(found[3]) or int(found[3])
    if port > 65535:
        raise ValueError(f"port {port} is out of range (0 to 65535)")
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


def beyond_authority(url: str) -> str:
    """What a URL has after its host and port; a lone slash counts as nothing."""
    _, mark, rest = url.partition("://")
    found = re.search(r"[/?#]", rest)
    extra = rest[found.start() :] if mark and found else ""
    return "" if extra == "/" else extra


def port_of(url: str) -> int:
    """The number written as a URL's port, also one that cannot be; 0 without."""
    digits = urlsplit(url).netloc.rpartition("@")[2].rpartition(":")[2]
    return int(digits[:9]) if digits.isascii() and digits.isdigit() else 0


def is_domain(text: str) -> bool:
    """Whether it is a domain name in ASCII, with or without dots around it (RFC 1123)."""
    labels = text.strip(".").split(".")
    return len(text) <= 253 and all(LABEL.fullmatch(label) for label in labels)


def is_resolver(text: str) -> bool:
    """Whether it is what clients take as one: an IP address, or a DNS-over-HTTPS URL."""
    if text.startswith("https://"):
        return bool(host_of(text))
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def host_of(url: str) -> str:
    """The host name in a URL, lower case; empty if there is none or it is not a URL."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
