"""The SSH policies that nodes are told: the plan of their standpoint, with everyone who may log in.

It lets in whom the rules as the real service writes them let in (`ssh_printed`), but there are fewer of them.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from headscale_saas.policy.members import Members
from headscale_saas.policy.ssh.actions import action_of
from headscale_saas.policy.ssh.plans import Plans, Run, Step, joined
from headscale_saas.policy.ssh.rules import RuleSet, SshRules, Standpoint, local_part
from headscale_saas.policy.ssh.sources import Everyone, Principals, SourceSets
from headscale_saas.tailcfg.ssh import SSHPolicy
from headscale_saas.tailcfg.ssh import SSHRule as WireRule
from headscale_saas.tailnet.model import User, UserId

MOST_PRINCIPALS = 200_000
"""What one policy may tell: some 6 MB. What is past it is left out, and lets nobody in."""

MOST_RULES = 250_000
"""Of all policies of a tailnet: some 100 MB of memory. Whose policy would be past it is told none."""

Made = dict[Standpoint, tuple[list[object], SSHPolicy]]
"""Policies, each with all that it was made of."""


NOBODY_LOGS_IN = SSHPolicy()


class Placed(NamedTuple):
    """A step, and who its sources are."""

    step: Step
    everyone: Everyone


class SshPolicies:
    """The policies of one state by standpoint. They are the former state's objects where nothing changed."""

    def __init__(
        self,
        rules: SshRules,
        members: Members,
        users: Mapping[UserId, User],
        before: "SshPolicies | None" = None,
    ) -> None:
        self.sources: SourceSets = SourceSets(members, users, before.sources if before else None)
        self._plans: Plans = before._plans if before else Plans(rules)
        self._placed: dict[tuple[RuleSet, RuleSet], list[Placed]] = {}
        self._made: Made = {}
        self._former: Made = (before._made or before._former) if before else {}
        self._told = sum(len(policy.rules) for _, policy in self._former.values())

    def policy(self, standpoint: Standpoint) -> SSHPolicy:
        if standpoint not in self._made:
            self._made[standpoint] = self._found(standpoint)
        return self._made[standpoint][1]

    @property
    def is_full(self) -> bool:
        """Whether there are as many rules as may be told: no more policies are made."""
        return self._told >= MOST_RULES

    def size(self, standpoint: Standpoint) -> int:
        """How many principals the policy has, but for those of users' own devices."""
        return sum(len(everyone) for step, everyone in self._steps(standpoint) if not step.is_own)

    def own_rules(self, standpoint: Standpoint, users: int) -> int:
        """At most how many rules so many users of the standpoint are told about their own devices alone."""
        placed = (everyone for step, everyone in self._steps(standpoint) if step.is_own)
        return sum(min(len(everyone.users), users) for everyone in placed)

    def _found(self, standpoint: Standpoint) -> tuple[list[object], SSHPolicy]:
        steps, user = self._steps(standpoint), standpoint.user
        depends_on = [one for step in steps for one in self._depends_on(step, user)]
        known = self._former.get(standpoint)
        if known is not None and known[0] == depends_on:
            return known
        if known is None and self.is_full:
            return depends_on, NOBODY_LOGS_IN
        rules = tuple(_bounded(rule for step in steps for rule in self._rules(step, user)))
        self._told += len(rules) - (len(known[1].rules) if known else 0)
        return depends_on, SSHPolicy(rules=rules)

    def _steps(self, standpoint: Standpoint) -> list[Placed]:
        """Of a run, those with the same sources, however they are named, are one here."""
        key = standpoint.everyone, standpoint.own
        if key not in self._placed:
            runs = self._plans.of(*key)
            self._placed[key] = [placed for run in runs for placed in self._joined(run)]
        return self._placed[key]

    def _joined(self, run: Run) -> Iterator[Placed]:
        alike: dict[tuple[int, bool], tuple[Everyone, list[Step]]] = {}
        for step in run:
            everyone = self.sources.of(step.like.sources, step.like.postures)
            alike.setdefault((id(everyone), step.is_own), (everyone, []))[1].append(step)
        return (Placed(joined(steps), everyone) for everyone, steps in alike.values())

    def _depends_on(self, placed: Placed, user: UserId | None) -> Iterator[object]:
        yield _of_whom(placed, user)
        if placed.step.domains:
            yield [self.sources.login(one) for one in _named(placed, user)]
        yield self._recorders(placed.step)

    def _recorders(self, step: Step) -> Principals:
        return self.sources.of(step.like.recorders).principals if step.like.recorders else ()

    def _rules(self, placed: Placed, user: UserId | None) -> Iterator[WireRule]:
        step = placed.step
        whom = _of_whom(placed, user)
        principals = whom.principals if isinstance(whom, Everyone) else whom
        if not principals:
            return
        yield self._rule(step, principals, dict(step.users))
        for one in _named(placed, user) if step.domains else ():
            if local := local_part(self.sources.login(one), step.domains):
                yield self._rule(step, placed.everyone.of_user(one), {local: local})

    def _rule(self, step: Step, principals: Principals, users: dict[str, str]) -> WireRule:
        return WireRule(
            principals=principals,
            ssh_users=users,
            action=action_of(step.like, self._recorders(step)),
            accept_env=step.like.accept_env,
        )


def _of_whom(placed: Placed, user: UserId | None) -> Everyone | Principals:
    if placed.step.is_own and user is not None:
        return placed.everyone.of_user(user)
    return placed.everyone


def _named(placed: Placed, user: UserId | None) -> list[UserId]:
    """Whose local parts count."""
    return [user] if placed.step.is_own and user is not None else placed.everyone.users


def _bounded(rules: Iterator[WireRule]) -> Iterator[WireRule]:
    left = MOST_PRINCIPALS
    for rule in rules:
        left -= len(rule.principals)
        if left < 0:
            return
        yield rule
