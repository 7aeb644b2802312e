"""What clients do with a packet filter and an SSH policy as they are sent (section 17)."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.policy_oracle.ranges import overlap, parse_all
from tests.policy_oracle.rules import DEFAULT_PROTOCOLS, Rule

Wire = Mapping[str, Any]


def rules_of(wire: Iterable[Wire]) -> list[Rule]:
    """Wire rules (`tailcfg.FilterRule` as JSON) in the terms of the oracle."""
    return [rule for one in wire for rule in _rules(one)]


def _rules(wire: Wire) -> list[Rule]:
    sources = parse_all(wire.get("SrcIPs") or [])
    protocols = frozenset(wire.get("IPProto") or DEFAULT_PROTOCOLS)
    targets = [
        (parse_all([entry["IP"]]), (entry["Ports"]["First"], entry["Ports"]["Last"]))
        for entry in wire.get("DstPorts") or []
    ]
    rules = [Rule(sources, targets, protocols)] if targets else []
    for grant in wire.get("CapGrant") or []:
        rules.append(Rule(sources, holders=parse_all(grant["Dsts"]), capabilities=grant.get("CapMap") or {}))
    return rules


def is_local(addresses: Iterable[str], advertised: Iterable[str], destination: str) -> bool:
    return overlap(parse_all([*addresses, *advertised]), parse_all([destination]))


def ssh_decision(rules: Iterable[Wire], source: str, user: str) -> tuple[str, str, tuple[str, ...]] | None:
    """What happens to a login: ("accept" or "check", the local user, what of the environment is taken)."""
    for rule in rules:
        if not any(principal.get("nodeIP") == source for principal in rule.get("principals") or []):
            continue
        users: Mapping[str, str] = rule.get("sshUsers") or {}
        local = users.get(user, users.get("*", ""))
        if local:
            kind = "accept" if rule["action"].get("accept") else "check"
            return kind, user if local == "=" else local, tuple(rule.get("acceptEnv") or ())
    return None
