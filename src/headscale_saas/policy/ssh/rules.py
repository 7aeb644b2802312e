"""Who may log in by Tailscale SSH: the `ssh` section, compiled; it does not depend on the nodes there are.

Check rules come before the others: clients take the first that matches. Sets of rules are integers: bit n is
rule n.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple

import msgspec

from headscale_saas.policy.atoms import Atoms, indices
from headscale_saas.policy.language.document import Document, SshRule
from headscale_saas.policy.language.selectors import SELF
from headscale_saas.policy.language.ssh import LOCAL_PART
from headscale_saas.tailnet.model import Node, User, UserId

NONROOT = "autogroup:nonroot"
SAME_NAME = "="
DENIED = ""

RuleSet = int


class Standpoint(NamedTuple):
    """Which rules are about a node: those by which all their sources may log in there, and those by which
    only the devices of its `user` may (None: there are none). Nodes of one standpoint have one policy."""

    everyone: RuleSet
    own: RuleSet
    user: UserId | None


NOBODY = Standpoint(0, 0, None)


class CompiledRule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Masks stand for selectors. `domains` are those of `localpart:*@domain`, in lower case."""

    is_check: bool
    sources: int
    postures: int
    destinations: int
    has_self: bool
    users: Mapping[str, str]
    domains: frozenset[str]
    accept_env: tuple[str, ...]
    period: timedelta
    recorders: int
    must_record: bool

    def admits(self, mask: int) -> bool:
        """Whether a node with this mask is a source."""
        return bool(mask & self.sources and (not self.postures or mask & self.postures))

    def maps(self, login: str, user: User | None) -> bool:
        """Whether someone (`user` None: a tagged node) may log in under this name."""
        if user is not None and login and login == local_part(user.login_name, self.domains):
            return True
        return self.users.get(login, self.users.get("*", DENIED)) != DENIED


def local_part(login_name: str, domains: frozenset[str]) -> str:
    """The name that `localpart:*@domain` gives a user; "" for one of another domain."""
    local, _, domain = login_name.rpartition("@")
    return local if domain.lower() in domains else ""


class SshRules:
    """The rules of one document that have sources."""

    def __init__(self, document: Document, atoms: Atoms) -> None:
        compiled = (_compiled(rule, document, atoms) for rule in document.ssh)
        self.rules = sorted((rule for rule in compiled if rule.sources), key=lambda rule: not rule.is_check)
        self._from: dict[int, RuleSet] = {}
        self._to: dict[int, RuleSet] = {}
        self._with_self = self._with_local_parts = 0
        for number, rule in enumerate(self.rules):
            _add(self._from, rule.sources, 1 << number)
            _add(self._to, rule.destinations, 1 << number)
            self._with_self |= rule.has_self << number
            self._with_local_parts |= bool(rule.domains and rule.destinations) << number

    def standpoint(self, node: Node, mask: int) -> Standpoint:
        if not self.rules:
            return NOBODY
        everyone = _found(self._to, mask)
        own = 0
        if node.user_id is not None and self._with_self | self._with_local_parts:
            # Sources name users and tags, so either all devices of a user are among them or none.
            own = (_found(self._from, mask) & self._with_self) | self.returned(mask)
            own &= ~everyone
        return Standpoint(everyone, own, node.user_id if own else None)

    def returned(self, mask: int) -> RuleSet:
        """Rules for local parts by which a source that is no destination lets its own user in, or itself if
        it is tagged: the real service does that.
        """
        if not self._with_local_parts:
            return 0
        found = _found(self._from, mask) & self._with_local_parts & ~_found(self._to, mask)
        return sum(1 << number for number in indices(found) if self.rules[number].admits(mask))

    def letting_in(
        self, standpoint: Standpoint, source: Node, mask: int, user: User | None, login: str
    ) -> Iterator[CompiledRule]:
        """The rules by which the source (of the user) may log in under this name at nodes of a standpoint."""
        is_own = source.user_id is not None and source.user_id == standpoint.user
        for number in indices(standpoint.everyone | (standpoint.own if is_own else 0)):
            rule = self.rules[number]
            if rule.admits(mask) and rule.maps(login, user):
                yield rule

    def check_period(
        self, source: Node, source_mask: int, target: Node, target_mask: int
    ) -> timedelta | None:
        """How long a check of this source holds at this target: 0 = never. None = no rule checks it."""
        is_self = source.user_id is not None and source.user_id == target.user_id
        for rule in self.rules:
            is_target = bool(target_mask & rule.destinations) or (rule.has_self and is_self)
            if rule.is_check and rule.admits(source_mask) and is_target:
                return rule.period
        return None


def _compiled(rule: SshRule, document: Document, atoms: Atoms) -> CompiledRule:
    postures = document.default_postures if rule.postures is None else rule.postures
    domains = {domain for user in rule.users if (domain := _domain(user))}
    return CompiledRule(
        is_check=rule.is_check,
        sources=atoms.bits(rule.sources),
        postures=atoms.posture_bits(postures),
        destinations=atoms.bits(rule.destinations),
        has_self=SELF in rule.destinations,
        users=_user_map(user for user in rule.users if not _domain(user)),
        domains=frozenset(domain.lower() for domain in domains),
        accept_env=rule.accept_env,
        period=rule.check_period,
        recorders=atoms.bits(rule.recorders),
        must_record=rule.enforce_recorder,
    )


def _domain(user: str) -> str:
    return user.removeprefix(LOCAL_PART) if user.startswith(LOCAL_PART) else ""


def _user_map(names: Iterable[str]) -> dict[str, str]:
    listed = set(names)
    found = {name: name for name in sorted(listed - {NONROOT})}
    found.setdefault("root", DENIED)
    return found | ({"*": SAME_NAME} if NONROOT in listed else {})


def _add(table: dict[int, RuleSet], mask: int, own: RuleSet) -> None:
    for number in indices(mask):
        table[number] = table.get(number, 0) | own


def _found(table: Mapping[int, RuleSet], mask: int) -> RuleSet:
    found = 0
    for number in indices(mask):
        found |= table.get(number, 0)
    return found
