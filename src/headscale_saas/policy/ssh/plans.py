"""What the SSH rules of a standpoint come to: few steps, however many rules there are.

While the action stays the same, the order of rules does not matter, and a name is only ever mapped to itself.
So of rules that stand together, those with the same sources are one step, with the names of them all.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import groupby

import msgspec
from msgspec.structs import replace

from headscale_saas.policy.atoms import indices
from headscale_saas.policy.ssh.rules import DENIED, CompiledRule, RuleSet, SshRules

MOST_PLANS = 4096


class Step(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """`is_own`: of the sources only the user's own devices. `like` is one of the rules: it has sources and
    action.
    """

    like: CompiledRule
    is_own: bool
    users: Mapping[str, str]
    domains: frozenset[str]


Run = tuple[Step, ...]
"""Steps that do the same, so in any order."""
Plan = tuple[Run, ...]


class Plans:
    """Of one document; each is made once."""

    def __init__(self, rules: SshRules) -> None:
        self._rules = rules.rules
        self._known: dict[tuple[RuleSet, RuleSet], Plan] = {}

    def of(self, everyone: RuleSet, own: RuleSet) -> Plan:
        known = self._known.get((everyone, own))
        if known is None:
            if len(self._known) == MOST_PLANS:
                self._known.clear()
            known = self._known[everyone, own] = tuple(self._runs(everyone | own, own))
        return known

    def _runs(self, rules: RuleSet, own: RuleSet) -> Iterator[Run]:
        for _, together in groupby(indices(rules), key=lambda number: _action(self._rules[number])):
            alike: dict[Hashable, list[Step]] = {}
            for number in together:
                rule, is_own = self._rules[number], bool(own >> number & 1)
                step = Step(like=rule, is_own=is_own, users=rule.users, domains=rule.domains)
                alike.setdefault((rule.sources, rule.postures, is_own), []).append(step)
            yield tuple(joined(steps) for steps in alike.values())


def joined(steps: Iterable[Step]) -> Step:
    """Steps of one run with the same sources as one."""
    first, *others = steps
    if not others:
        return first
    users = dict(first.users)
    for step in others:
        for name, local in step.users.items():
            users[name] = local or users.get(name, DENIED)
    return replace(first, users=users, domains=first.domains.union(*(step.domains for step in others)))


def _action(rule: CompiledRule) -> Hashable:
    return rule.is_check, rule.accept_env, rule.recorders, rule.must_record
