"""The SSH policies that nodes are told: the rules of their standpoint, with everyone who may log in.

Principals are addresses, in the order of strings.
"""

from collections.abc import Iterator, Mapping

import msgspec

from headscale_saas.policy.members import Members
from headscale_saas.policy.ssh import CompiledRule, Part, SshRules, Standpoint
from headscale_saas.policy.ssh_sources import Everyone, Principals, Sources
from headscale_saas.tailcfg.ssh import SSHAction, SSHPolicy, SSHRecorderFailureAction
from headscale_saas.tailcfg.ssh import SSHRule as WireRule
from headscale_saas.tailnet.model import User, UserId

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

Made = dict[Standpoint, tuple[list[object], SSHPolicy]]
"""Policies, each with all that it was made of."""
SourcesKey = tuple[int, int, bool]
"""Selectors, postures, and whether logins matter."""


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
        if local := rule.local_part(login):
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
