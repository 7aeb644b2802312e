"""Which selector a word is. What it names need not exist, nor may it stand everywhere."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_network

from headscale_saas.policy.language.selectors import ANY, MEMBER, Kind, Selector
from headscale_saas.tailnet.model import IPNetwork

LEGACY_MEMBER = "autogroup:members"
EVERY_LOGIN_OF = "user:*@"

_BY_PREFIX = {
    "group": Kind.GROUP,
    "tag": Kind.TAG,
    "autogroup": Kind.AUTOGROUP,
    "ipset": Kind.IPSET,
    "svc": Kind.SERVICE,
}
_NUMERIC = re.compile(r"([0-9a-fA-F:.]{2,45})(?:/(0|[1-9][0-9]{0,2}))?")


def recognise(word: str) -> Selector | None:
    """The selector that is written so; None if it is none at all.

    A group may have an `@` in its name (those of identity providers do), so prefixes go before users.
    """
    prefix, colon, name = word.partition(":")
    if colon and prefix in _BY_PREFIX:
        return _prefixed(_BY_PREFIX[prefix], word, name)
    if written := _prefix(word):
        return Selector(Kind.PREFIX, written)
    if word == "*":
        return ANY
    if colon and prefix == "user":
        domain = word.removeprefix(EVERY_LOGIN_OF)
        return Selector(Kind.DOMAIN, domain) if domain not in ("", word) and "@" not in domain else None
    if "@" in word:
        return Selector(Kind.USER, word)
    host = name if prefix == "host" and colon else word
    return Selector(Kind.HOST, host) if host and ":" not in host else None


def _prefixed(kind: Kind, word: str, name: str) -> Selector | None:
    if word == LEGACY_MEMBER:
        return MEMBER
    return Selector(kind, word) if name else None


def read_network(word: str) -> IPNetwork | None:
    """An address or a prefix, host bits masked away; None for any other word."""
    prefix = _prefix(word)
    return ip_network(prefix) if prefix else None


def _prefix(word: str) -> str | None:
    """The one spelling of an address or a prefix. (`ip_network` would take three times as long.)"""
    found = _NUMERIC.fullmatch(word)
    if not found or ("." not in word and ":" not in word):
        return None
    address, length = found.groups()
    kind, bits = (IPv6Address, 128) if ":" in address else (IPv4Address, 32)
    host_bits = bits - int(length or bits)
    try:
        number = int(kind(address)) >> host_bits << host_bits
    except ValueError:  # also of the shift, if the length is more than there are bits
        return None
    return f"{kind(number)}/{bits - host_bits}"
