"""Policies made to cost as much as possible: what is small in the file and large in what it means.

Each is within the budgets of the language, or just past one of them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
MEMBERS = "autogroup:member"
TAG_OWNERS: Json = {"tag:server": [], "tag:other": []}


def rule(sources: list[str], destinations: list[str]) -> Json:
    return {"action": "accept", "src": sources, "dst": destinations}


def file(*acls: Json, **sections: Any) -> str:
    return json.dumps({"tagOwners": TAG_OWNERS, "acls": list(acls)} | sections)


def deep() -> str:
    return '{"acls": ' + "[" * 100_000


def deep_and_closed() -> str:
    return '{"acls": ' + "[" * 400_000 + "]" * 400_000 + "}"


def ten_megabytes() -> str:
    return file(comment="x" * 10_000_000)


def ten_megabytes_of_nothing() -> str:
    return " " * 10_000_000 + "{}"


def a_megabyte_of_comments() -> str:
    return "/**/" * 250_000 + "{}"


def a_megabyte_of_commas() -> str:
    return '{"acls": [' + "," * 1_000_000 + "]}"


def a_megabyte_of_values() -> str:
    return '{"acls": [' + "1," * 500_000 + "]}"


def a_long_number() -> str:
    return '{"acls": [' + "1" * 1_000_000 + "]}"


def a_word_of_a_megabyte() -> str:
    return file(rule(["a" * 1_000_000], ["*:*"]))


def a_domain_in_a_domain() -> str:
    return file(rule(["user:*@" * 140_000], ["*:*"]))


def a_posture_of_spaces() -> str:
    return file(postures={"posture:x": ["node:os" + " " * 500_000 + "!"]})


def many_port_ranges() -> str:
    return file(rule(["*"], ["*:" + ",".join(map(str, range(1, 60_000)))]))


REFUSED: Mapping[str, Callable[[], str]] = {
    make.__name__: make
    for make in (
        deep,
        deep_and_closed,
        ten_megabytes,
        ten_megabytes_of_nothing,
        a_megabyte_of_commas,
        a_megabyte_of_values,
        a_long_number,
        a_word_of_a_megabyte,
        a_domain_in_a_domain,
        a_posture_of_spaces,
        many_port_ranges,
    )
}


def doubling_ipsets() -> str:
    """Two to the power of 60, if each is written out."""
    ipsets = {"ipset:0": ["10.0.0.0/24", "100.64.0.0/16"]}
    ipsets |= {f"ipset:{n}": [f"ipset:{n - 1}", f"ipset:{n - 1}"] for n in range(1, 60)}
    return file(rule(["ipset:59"], ["ipset:59:22"]), ipsets=ipsets)


def holes_in_an_ipset() -> str:
    holes = [f"remove 10.{n >> 8}.{n & 255}.1" for n in range(15_000)]
    return file(rule(["ipset:x"], ["tag:server:22"]), ipsets={"ipset:x": ["add 10.0.0.0/8", *holes]})


def one_ipset_in_many_rules() -> str:
    holes = [f"remove 10.{n >> 8}.{n & 255}.1" for n in range(10_000)]
    rules = [rule(["ipset:x", f"10.99.{n >> 8}.{n & 255}"], [f"tag:server:{1 + n}"]) for n in range(2000)]
    return file(*rules, ipsets={"ipset:x": ["add 10.0.0.0/8", *holes]})


def full_groups() -> str:
    people = [f"user{n}@example.com" for n in range(90)]
    groups = {f"group:{n}": people for n in range(450)}
    return file(*(rule([name], [f"{name}:{1 + n}"]) for n, name in enumerate(groups)), groups=groups)


def a_chain_of_tag_owners() -> str:
    owners = {f"tag:a{n}": [f"tag:a{n + 1}"] for n in range(15_000)} | {"tag:a15000": [MEMBERS]}
    return file(tagOwners=owners | TAG_OWNERS)


def tags_that_own_each_other() -> str:
    tags = [f"tag:a{n}" for n in range(200)]
    return file(tagOwners=dict.fromkeys(tags, tags) | TAG_OWNERS)


def ten_thousand_hosts() -> str:
    hosts = {f"h{n}": f"10.{n >> 8}.{n & 255}.1" for n in range(10_000)}
    return file(rule([MEMBERS], [f"{name}:22" for name in hosts]), hosts=hosts)


def ten_thousand_addresses_of_nodes() -> str:
    """As sources and as destinations."""
    addresses = [f"100.64.{n >> 8}.{n & 255}" for n in range(10_000)]
    return file(rule(addresses, [f"{address}:22" for address in addresses]))


def thousands_of_rules() -> str:
    """Each with sources of its own, from everybody's: not to be joined."""
    return file(*(rule([MEMBERS, f"user{n}@example.com"], [f"tag:server:{1 + n}"]) for n in range(6000)))


def a_filter_of_megabytes() -> str:
    """As long as every client takes it."""
    return file(*(rule([MEMBERS, f"192.0.2.{n}"], [f"*:{1 + n}"]) for n in range(20)))


def thousands_of_ports() -> str:
    """One rule, with as many destinations as a server has ports."""
    return file(rule([MEMBERS], [f"tag:server:{port}" for port in range(1, 40_000, 2)]))


def groups_of_everybody() -> str:
    groups = {f"group:{n}": ["user:*@example.com"] for n in range(4000)}
    rules = [rule([name], [f"tag:server:{port}"]) for port, name in enumerate(groups, 1)]
    return file(*rules, groups=groups)


def thousands_of_rules_for_each() -> str:
    return file(*(rule([f"user{n}@example.com"], ["*:22"]) for n in range(7000)))


def thousands_of_rules_for_oneself() -> str:
    sources = [[f"user{n}@example.com", "group:all"] for n in range(5000)]
    acls = [rule(words, [f"autogroup:self:{port}"]) for port, words in enumerate(sources, 1)]
    return file(*acls, groups={"group:all": ["user:*@example.com"]})


def many_postures() -> str:
    assertions = [f"node:tsVersion >= '1.{n}.0'" for n in range(40)]
    postures = {f"posture:{n}": assertions for n in range(1000)}
    acls = [rule(["*"], [f"tag:server:{1 + n}"]) | {"srcPosture": [name]} for n, name in enumerate(postures)]
    return file(*acls, postures=postures)


def thousands_of_ssh_rules() -> str:
    rules = [
        {"action": "accept", "src": [MEMBERS], "dst": ["tag:server"], "users": [f"user{n}"]}
        for n in range(5000)
    ]
    return file(ssh=rules)


def thousands_of_logins() -> str:
    """One rule for each login of a domain."""
    users = [f"localpart:*@example{n}.com" for n in range(5000)] + ["localpart:*@example.com"]
    return file(ssh=[{"action": "accept", "src": [MEMBERS], "dst": ["tag:server"], "users": users}])


def thousands_of_via_grants() -> str:
    grants = [
        {"src": [f"user{n}@example.com"], "dst": [f"10.{n % 200}.0.0/16"], "ip": ["*"], "via": ["tag:server"]}
        for n in range(5000)
    ]
    return file(grants=grants)


def thousands_of_attributes() -> str:
    attrs = [{"target": [MEMBERS], "attr": [f"custom:{n}"]} for n in range(8000)]
    return file(nodeAttrs=attrs)


ACCEPTABLE: Mapping[str, Callable[[], str]] = {
    make.__name__: make
    for make in (
        a_megabyte_of_comments,
        doubling_ipsets,
        holes_in_an_ipset,
        one_ipset_in_many_rules,
        full_groups,
        a_chain_of_tag_owners,
        tags_that_own_each_other,
        ten_thousand_hosts,
        ten_thousand_addresses_of_nodes,
        thousands_of_rules,
        a_filter_of_megabytes,
        thousands_of_ports,
        groups_of_everybody,
        thousands_of_rules_for_each,
        thousands_of_rules_for_oneself,
        many_postures,
        thousands_of_ssh_rules,
        thousands_of_logins,
        thousands_of_via_grants,
        thousands_of_attributes,
    )
}
"""Refused or carried out: either is right, within the time."""
