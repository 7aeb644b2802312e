"""Who may log in by Tailscale SSH: the `ssh` section, compiled for kinds of nodes.

A node's standpoint says which rules are about it, and for whom; nodes with one standpoint have one policy.
Principals are addresses, in the order of strings. Check rules come before the others: the first match wins.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

import msgspec

from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.language.document import Document, SshRule
from headscale_saas.policy.language.selectors import SELF
from headscale_saas.policy.language.ssh import LOCAL_PART
from headscale_saas.policy.members import Members
from headscale_saas.policy.ssh_sources import Everyone, Principals, Sources
from headscale_saas.tailcfg.ssh import SSHAction, SSHPolicy, SSHRecorderFailureAction
from headscale_saas.tailcfg.ssh import SSHRule as WireRule
from headscale_saas.tailnet.model import Node, NodeId, User, UserId

NONROOT = "autogroup:nonroot"
SAME_NAME = "="
DENIED = ""

ACCEPT = SSHAction(
    accept=True,
    allow_agent_forwarding=True,
    allow_local_port_forwarding=True,
    allow_remote_port_forwarding=True,
)
# The host is never looked up: clients ask over the connection they have to us.
CHECK = SSHAction(
    hold_and_delegate="https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER"
)
RECORDER_PORT = 80
NOT_RECORDED = SSHRecorderFailureAction(
    reject_session_with_message="The session cannot be recorded.",
    terminate_session_with_message="The session can no longer be recorded.",
)


class Part(msgspec.Struct, frozen=True):
    """A rule as it is about one node: all its sources may log in, or only the user's own devices, or (which
    takes nobody any further) only the node itself.
    """

    rule: int
    user: UserId | None = None
    node: NodeId | None = None


Standpoint = tuple[Part, ...]
Made = dict[Standpoint, tuple[list[object], SSHPolicy]]
"""Policies, each with all that it was made of."""
SourcesKey = tuple[int, int, bool]
"""Selectors, postures, and whether logins matter."""


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

    def maps(self, login: str, user: User | None) -> bool:
        """Whether someone (`user` None: a tagged node) may log in under this name."""
        local, _, domain = user.login_name.rpartition("@") if user is not None else ("", "", "")
        is_own_name = domain.lower() in self.domains and login == local
        return is_own_name or self.users.get(login, self.users.get("*", DENIED)) != DENIED


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


class SshPolicies:
    """The policies of one state by standpoint. They are the former state's objects where nothing changed."""

    def __init__(
        self,
        rules: SshRules,
        members: Members,
        users: Mapping[UserId, User],
        before: "SshPolicies | None" = None,
    ) -> None:
        self._rules = rules.rules
        self._members = members
        self._users = users
        self._sources: dict[SourcesKey, Sources] = {}
        self._made: Made = {}
        self._former: Made = (before._made or before._former) if before else {}
        self._former_sources: dict[SourcesKey, Sources] = (
            before._former_sources | before._sources if before else {}
        )

    def policy(self, standpoint: Standpoint) -> SSHPolicy:
        if standpoint in self._made:
            return self._made[standpoint][1]
        depends_on = list(self._depends_on(standpoint))
        known = self._former.get(standpoint)
        if known is None or known[0] != depends_on:
            rules = tuple(rule for part in standpoint for rule in self._rendered(part))
            known = (depends_on, SSHPolicy(rules=rules))
        self._made[standpoint] = known
        return known[1]

    def _depends_on(self, standpoint: Standpoint) -> Iterator[object]:
        for part in standpoint:
            rule = self._rules[part.rule]
            everyone = self._sources_of(rule)
            if part.node is not None:
                yield everyone.of_node(part.node)
            elif part.user is not None:
                yield everyone.of_user(part.user), everyone.logins.get(part.user)
            else:
                yield everyone
            if rule.recorders:
                yield self._recorders_of(rule)

    def _sources_of(self, rule: CompiledRule) -> Everyone:
        return self._everyone((rule.sources, rule.postures, bool(rule.domains)))

    def _recorders_of(self, rule: CompiledRule) -> Everyone:
        return self._everyone((rule.recorders, 0, False))

    def _everyone(self, key: SourcesKey) -> Everyone:
        sources = self._sources.get(key)
        if sources is None:
            mask, postures, is_named = key
            users = self._users if is_named else {}
            sources = Sources(self._members, mask, postures, users, self._former_sources.get(key))
            self._sources[key] = sources
        return sources.everyone

    def _rendered(self, part: Part) -> Iterator[WireRule]:
        rule = self._rules[part.rule]
        everyone = self._sources_of(rule)
        if part.node is not None:
            yield from self._emitted(rule, everyone.of_node(part.node), "")
        elif part.user is not None:
            yield from self._of_user(rule, everyone, part.user)
        elif not rule.domains:
            yield from self._emitted(rule, everyone.principals, "")
        else:
            for user in everyone.users:
                yield from self._of_user(rule, everyone, user)
            yield from self._emitted(rule, everyone.tagged, "")

    def _of_user(self, rule: CompiledRule, everyone: Everyone, user: UserId) -> Iterator[WireRule]:
        return self._emitted(rule, everyone.of_user(user), everyone.logins.get(user, ""))

    def _emitted(self, rule: CompiledRule, principals: Principals, login: str) -> Iterator[WireRule]:
        if not principals:
            return
        yield self._wire(rule, principals, dict(rule.users))
        local, _, domain = login.rpartition("@")
        if domain.lower() in rule.domains:
            yield self._wire(rule, principals, {local: local})

    def _wire(self, rule: CompiledRule, principals: Principals, users: dict[str, str]) -> WireRule:
        return WireRule(
            principals=principals, ssh_users=users, action=self._action(rule), accept_env=rule.accept_env
        )

    def _action(self, rule: CompiledRule) -> SSHAction:
        action = CHECK if rule.is_check else ACCEPT
        if not rule.recorders:
            return action
        addresses = (principal.node_ip for principal in self._recorders_of(rule).principals)
        recorders = (f"[{a}]:{RECORDER_PORT}" if ":" in a else f"{a}:{RECORDER_PORT}" for a in addresses)
        failure = NOT_RECORDED if rule.must_record else None
        return msgspec.structs.replace(action, recorders=tuple(recorders), on_recording_failure=failure)


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
