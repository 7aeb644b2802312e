"""Which selectors may stand where, and what is said of those that may not."""

from collections.abc import Callable, Iterable

import msgspec

from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.recognition import recognise
from headscale_saas.policy.language.selectors import (
    DANGER_ALL,
    INTERNET,
    MEMBER,
    SELF,
    SHARED,
    TAGGED,
    Kind,
    Selector,
)
from headscale_saas.policy.language.shapes import items, string
from headscale_saas.policy.language.values import Value

ROLES = tuple(
    Selector(Kind.AUTOGROUP, f"autogroup:{role}")
    for role in ("owner", "admin", "it-admin", "network-admin", "billing-admin", "auditor")
)
NONROOT = Selector(Kind.AUTOGROUP, "autogroup:nonroot")
PEOPLE = frozenset({MEMBER, *ROLES})
KNOWN = (INTERNET, SELF, MEMBER, TAGGED, *ROLES, SHARED, NONROOT, DANGER_ALL)

_IDENTITIES = frozenset({Kind.USER, Kind.DOMAIN, Kind.GROUP, Kind.TAG, Kind.AUTOGROUP})
_ADDRESSES = frozenset({Kind.ANY, Kind.PREFIX, Kind.HOST})


class Place(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`section` is how the real service calls it. `refusal` is what is said of a selector that may not stand
    here, given the word as it is written. `before` goes before what is said of a word that cannot be read or
    names nothing; `{}` in it is the word."""

    section: str
    kinds: frozenset[Kind]
    autogroups: frozenset[Selector]
    refusal: Callable[[Selector, str], str]
    before: str = ""

    def read(self, value: Value, names: Names, word: str | None = None) -> Selector:
        """The selector a string is (or the part of it that `word` is). Raises PolicyError."""
        word = string(value).strip() if word is None else word
        selector = recognise(word)
        if selector is None:
            raise value.refused(self._introduced(word, f"{quoted(word)}: invalid address"))
        if fault := self._fault(selector, word, names):
            raise value.refused(fault)
        names.note_spelling(value, word, selector)
        return selector

    def read_all(self, value: Value | None, names: Names) -> tuple[Selector, ...]:
        return tuple(self.read(item, names) for item in items(value))

    def _fault(self, selector: Selector, word: str, names: Names) -> str | None:
        if selector.kind is Kind.AUTOGROUP and selector not in KNOWN:
            known = " ".join(one.name for one in KNOWN)
            return f"invalid autogroup: got {quoted(selector.name)}, must be one of [{known}]"
        if selector.kind not in self.kinds:
            return self.refusal(selector, word)
        if selector.kind is Kind.AUTOGROUP and selector not in self.autogroups:
            return self.refusal(selector, word)
        if selector.kind is Kind.DOMAIN and (foreign := names.foreign(selector.name)):
            return f"[{self.section}] {foreign}"
        undefined = names.undefined(selector)
        return undefined and self._introduced(selector.name, undefined)

    def _introduced(self, word: str, message: str) -> str:
        return self.before.replace("{}", quoted(word)) + message


def _unsupported(what: str, supported: Iterable[Selector], selector: Selector, word: str) -> str:
    shown = quoted(word)
    if selector.kind is not Kind.AUTOGROUP:
        return f"alias not supported for {what}: {shown}"
    names = " ".join(one.name for one in KNOWN if one in supported)
    return f"autogroup not supported for {what}s: {shown}, can be [{names}]"


def _not_a_source(selector: Selector, word: str) -> str:
    if selector == SELF:
        return '"autogroup:self" not valid on the src side of a rule'
    if selector == INTERNET:
        return "autogroup:internet can only be used in ACL destinations"
    return _unsupported("ACL source", SOURCE_AUTOGROUPS, selector, word)


def _not_a_destination(selector: Selector, word: str) -> str:
    if selector == DANGER_ALL:
        return "cannot use autogroup:danger-all as a dst"
    return _unsupported("ACL destination", DESTINATION_AUTOGROUPS, selector, word)


def _not_an_ssh_source(selector: Selector, word: str) -> str:
    if selector == SELF:
        return _not_a_source(selector, word)
    if selector == INTERNET:
        return "autogroup:internet can only be used in ACL destinations"
    return _unsupported("SSH source", PEOPLE | {TAGGED}, selector, word)


def _not_an_ssh_destination(selector: Selector, word: str) -> str:
    if selector.kind in (Kind.HOST, Kind.PREFIX):
        return f"invalid dst {quoted(word)}"
    if selector.kind is Kind.ANY:
        instead = "use 'autogroup:member', 'autogroup:tagged', tags or users instead"
        return f"wildcard (*) is not supported as SSH destination; {instead}"
    return _unsupported("SSH destination", (SELF, TAGGED), selector, word)


def _not_a_target(selector: Selector, word: str) -> str:
    shown = quoted(word)
    if selector.kind is Kind.AUTOGROUP:
        can_be = " ".join(one.name for one in KNOWN if one in PEOPLE or one == TAGGED)
        return f"nodeAttrs target does not support this autogroup: {shown}, can be [{can_be}]"
    return f"nodeAttrs target does not support {shown}"


SOURCE_AUTOGROUPS = PEOPLE | {TAGGED, DANGER_ALL, SHARED}
DESTINATION_AUTOGROUPS = PEOPLE | {TAGGED, SELF, INTERNET}

ACL_SOURCE = Place(
    section="acls",
    kinds=_IDENTITIES | _ADDRESSES | {Kind.IPSET},
    autogroups=SOURCE_AUTOGROUPS,
    refusal=_not_a_source,
    before="src=",
)
ACL_DESTINATION = Place(
    section="acls",
    kinds=_IDENTITIES | _ADDRESSES | {Kind.IPSET, Kind.SERVICE},
    autogroups=DESTINATION_AUTOGROUPS,
    refusal=_not_a_destination,
    before="dst={}: ",
)
GRANT_SOURCE = msgspec.structs.replace(ACL_SOURCE, section="grants")
GRANT_DESTINATION = msgspec.structs.replace(ACL_DESTINATION, section="grants")
SSH_SOURCE = Place(section="ssh", kinds=_IDENTITIES, autogroups=PEOPLE | {TAGGED}, refusal=_not_an_ssh_source)
SSH_DESTINATION = Place(
    section="ssh",
    kinds=frozenset({Kind.TAG, Kind.USER, Kind.DOMAIN, Kind.AUTOGROUP}),
    autogroups=frozenset({TAGGED, SELF}),
    refusal=_not_an_ssh_destination,
)
TARGET = Place(
    section="nodeAttrs",
    kinds=_IDENTITIES | _ADDRESSES,
    autogroups=PEOPLE | {TAGGED},
    refusal=_not_a_target,
)
OWNER = Place(
    section="tagOwners",
    kinds=_IDENTITIES,
    autogroups=PEOPLE | {TAGGED},
    refusal=lambda _, word: f"invalid owner format: {quoted(word)}",
)
APPROVER = Place(
    section="autoApprovers",
    kinds=_IDENTITIES,
    autogroups=PEOPLE | {TAGGED},
    refusal=lambda _, word: f"invalid auto approver format: {quoted(word)}",
)
GROUP_MEMBER = Place(
    section="groups",
    kinds=frozenset({Kind.USER, Kind.DOMAIN}),
    autogroups=frozenset(),
    refusal=lambda _, word: f"username must contain @, got: {quoted(word)}",
)
RECORDER = Place(
    section="ssh",
    kinds=frozenset({Kind.TAG}),
    autogroups=frozenset(),
    refusal=lambda _, word: f"recorder {quoted(word)} is not a tag",
)
IPSET_TARGET = Place(
    section="ipsets",
    kinds=frozenset({Kind.PREFIX, Kind.HOST, Kind.IPSET, Kind.AUTOGROUP}),
    autogroups=frozenset({INTERNET}),
    refusal=lambda _, word: f"{quoted(word)} cannot be part of an ipset",
)
