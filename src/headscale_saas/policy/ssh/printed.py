"""The SSH rules of one node exactly as the real service writes them, rule by rule: for people and tests."""

from collections.abc import Iterator

from headscale_saas.policy.buckets import addresses_of
from headscale_saas.policy.ssh.actions import action_of
from headscale_saas.policy.ssh.rules import CompiledRule, SshRules, local_part
from headscale_saas.policy.ssh.sources import Everyone, Principals, SourceSets
from headscale_saas.tailcfg.ssh import SSHPrincipal
from headscale_saas.tailcfg.ssh import SSHRule as WireRule
from headscale_saas.tailnet.model import Node, UserId


def printed_ssh(rules: SshRules, sources: SourceSets, node: Node, mask: int) -> tuple[WireRule, ...]:
    """Who may log in at the node."""
    return tuple(_Page(rules, sources, node, mask).rules())


class _Page:
    def __init__(self, rules: SshRules, sources: SourceSets, node: Node, mask: int) -> None:
        self._rules = rules.rules
        self._standpoint = rules.standpoint(node, mask)
        self._returned = rules.returned(mask)
        self._sources = sources
        self._node = node

    def rules(self) -> Iterator[WireRule]:
        for number, rule in enumerate(self._rules):
            everyone = self._sources.of(rule.sources, rule.postures)
            if rule.has_self and self._node.user_id is not None:
                yield from self._of_user(rule, everyone, self._node.user_id)
            if self._standpoint.everyone >> number & 1:
                yield from self._of_everyone(rule, everyone)
            elif self._returned >> number & 1:
                yield from self._of_itself(rule, everyone)

    def _of_everyone(self, rule: CompiledRule, everyone: Everyone) -> Iterator[WireRule]:
        if not rule.domains:
            yield from self._emitted(rule, everyone.printed)
            return
        for user in everyone.users:
            yield from self._of_user(rule, everyone, user)
        yield from self._emitted(rule, everyone.printed_tagged)

    def _of_itself(self, rule: CompiledRule, everyone: Everyone) -> Iterator[WireRule]:
        if self._node.user_id is not None:
            yield from self._of_user(rule, everyone, self._node.user_id)
        else:
            own = tuple(SSHPrincipal(node_ip=address) for address in addresses_of(self._node))
            yield from self._emitted(rule, own)

    def _of_user(self, rule: CompiledRule, everyone: Everyone, user: UserId) -> Iterator[WireRule]:
        return self._emitted(rule, everyone.of_user(user), self._sources.login(user))

    def _emitted(self, rule: CompiledRule, principals: Principals, login: str = "") -> Iterator[WireRule]:
        if not principals:
            return
        yield self._wire(rule, principals, dict(rule.users))
        if local := local_part(login, rule.domains):
            yield self._wire(rule, principals, {local: local})

    def _wire(self, rule: CompiledRule, principals: Principals, users: dict[str, str]) -> WireRule:
        recorders = self._sources.of(rule.recorders).principals if rule.recorders else ()
        return WireRule(
            principals=principals,
            ssh_users=users,
            action=action_of(rule, recorders),
            accept_env=rule.accept_env,
        )
