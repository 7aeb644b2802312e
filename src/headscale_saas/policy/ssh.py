"""Who may log in by Tailscale SSH: the `ssh` section, compiled for kinds of nodes.

A node's standpoint says which rules are about it, and for whom; nodes with one standpoint have one policy.
Check rules come before the others: clients take the first that matches.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

import msgspec

from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.language.document import Document, SshRule
from headscale_saas.policy.language.selectors import SELF
from headscale_saas.policy.language.ssh import LOCAL_PART
from headscale_saas.tailnet.model import Node, NodeId, User, UserId

NONROOT = "autogroup:nonroot"
SAME_NAME = "="
DENIED = ""


class Part(msgspec.Struct, frozen=True):
    """A rule as it is about one node: all its sources may log in, or only the user's own devices, or (which
    takes nobody any further) only the node itself.
    """

    rule: int
    user: UserId | None = None
    node: NodeId | None = None


Standpoint = tuple[Part, ...]


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True):
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

    def local_part(self, login_name: str) -> str:
        """The name that `localpart:*@domain` gives a user; "" for one of another domain."""
        local, _, domain = login_name.rpartition("@")
        return local if domain.lower() in self.domains else ""

    def maps(self, login: str, user: User | None) -> bool:
        """Whether someone (`user` None: a tagged node) may log in under this name."""
        if user is not None and login and login == self.local_part(user.login_name):
            return True
        return self.users.get(login, self.users.get("*", DENIED)) != DENIED


class SshRules:
    """The section of one document; it does not depend on nodes."""

    def __init__(self, document: Document, atoms: Atoms) -> None:
        compiled = (_compiled(rule, document, atoms) for rule in document.ssh)
        self.rules = sorted((rule for rule in compiled if rule.sources), key=lambda rule: not rule.is_check)

    def standpoint(self, node: Node, mask: int) -> Standpoint:
        """All that a node's policy depends on besides who the rules' sources are."""
        return tuple(self._parts(node, mask))

    def letting_in(
        self, standpoint: Standpoint, source: Node, mask: int, user: User | None, login: str
    ) -> Iterator[CompiledRule]:
        """The rules by which the source (of the user) may log in under this name at nodes of a standpoint."""
        for part in standpoint:
            rule = self.rules[part.rule]
            is_meant = part.node in (None, source.id) and part.user in (None, source.user_id)
            if is_meant and rule.admits(mask) and rule.maps(login, user):
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

    def _parts(self, node: Node, mask: int) -> Iterator[Part]:
        for number, rule in enumerate(self.rules):
            # Sources name users and tags, so either all devices of a user are among them or none.
            is_source = bool(mask & rule.sources)
            if rule.has_self and node.user_id is not None and is_source:
                yield Part(number, user=node.user_id)
            if mask & rule.destinations:
                yield Part(number)
            elif rule.domains and rule.destinations and rule.admits(mask):
                # The recorded service does that with rules for local parts.
                yield Part(number, user=node.user_id, node=node.id if node.user_id is None else None)


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
