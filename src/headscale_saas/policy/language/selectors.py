"""One word of a policy that names nodes or addresses: `*`, `10.0.0.0/8`, `alice@example.com`, `tag:web` …"""

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    ANY = "any"
    PREFIX = "prefix"
    HOST = "host"
    USER = "user"
    DOMAIN = "domain"
    GROUP = "group"
    TAG = "tag"
    AUTOGROUP = "autogroup"
    IPSET = "ipset"
    SERVICE = "service"


class Selector(msgspec.Struct, frozen=True, gc=False):
    """`name` identifies it within its kind, in one spelling only, so that equal selectors are equal values:

    any "*", prefix "10.0.0.0/8" or "fd7a::1/128" (host bits masked away, always with a length), host "web",
    user "alice@example.com", domain "example.com" (written `user:*@example.com`), group "group:eng",
    tag "tag:web", autogroup "autogroup:member", ipset "ipset:prod", service "svc:web".
    """

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"user:*@{self.name}" if self.kind is Kind.DOMAIN else self.name


ANY = Selector(Kind.ANY, "*")
MEMBER = Selector(Kind.AUTOGROUP, "autogroup:member")
TAGGED = Selector(Kind.AUTOGROUP, "autogroup:tagged")
SELF = Selector(Kind.AUTOGROUP, "autogroup:self")
INTERNET = Selector(Kind.AUTOGROUP, "autogroup:internet")
DANGER_ALL = Selector(Kind.AUTOGROUP, "autogroup:danger-all")
SHARED = Selector(Kind.AUTOGROUP, "autogroup:shared")
