"""What other sections refer to: groups, hosts, tag owners."""

from collections.abc import Mapping

from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.places import GROUP_MEMBER, OWNER
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.recognition import read_network, recognise
from headscale_saas.policy.language.selectors import Kind, Selector
from headscale_saas.policy.language.shapes import items, members, string
from headscale_saas.policy.language.values import Value
from headscale_saas.tailnet.model import IPNetwork


def read_groups(value: Value | None, names: Names) -> Mapping[str, tuple[Selector, ...]]:
    _refuse_nesting(value)
    return {name: GROUP_MEMBER.read_all(group, names) for name, group in members(value)}


def _refuse_nesting(value: Value | None) -> None:
    """Of several groups at fault the real service tells of the last one by name."""
    for name, group in sorted(members(value), reverse=True):
        if not name.startswith("group:") or name == "group:":
            raise group.name_refused(f"group must start with 'group:', got: {quoted(name)}")
        for member in items(group):
            selector = recognise(string(member).strip())
            if selector and selector.kind is Kind.GROUP:
                nested = f"groups[{quoted(name)}]: {quoted(selector.name)}"
                raise member.refused(f"{nested}: group members cannot be recursive")


def read_hosts(value: Value | None) -> Mapping[str, IPNetwork]:
    return {name: _host(name, host) for name, host in members(value)}


def _host(name: str, value: Value) -> IPNetwork:
    if not name or "@" in name or ":" in name or name == "*":
        raise value.name_refused(f"invalid hostname: {quoted(name)}")
    address = string(value)
    network = read_network(address.strip())
    if network is None:
        where = f"hostname {quoted(name)} address {quoted(address)}"
        raise value.refused(f"hostname contains invalid IP address: {where}")
    return network


def read_tag_owners(value: Value | None, names: Names) -> Mapping[str, tuple[Selector, ...]]:
    return {tag: _owners(tag, owners, names) for tag, owners in members(value)}


def _owners(tag: str, value: Value, names: Names) -> tuple[Selector, ...]:
    name = tag.removeprefix("tag:")
    if name == tag:
        raise value.name_refused(f"tagOwners[{quoted(tag)}]: tags must start with 'tag:'")
    if not (name[:1].isascii() and name[:1].isalpha()):
        raise value.name_refused(
            f"tagOwners[{quoted(tag)}]: tag names must start with a letter, after 'tag:'"
        )
    return tuple(_owner(tag, item, names) for item in items(value))


def _owner(tag: str, value: Value, names: Names) -> Selector:
    word = string(value).strip()
    if word.startswith("tag:") and word not in names.tags:
        raise value.refused(f"tag {quoted(tag)} references undefined tag {quoted(word)}")
    if recognise(word) is None:
        raise value.refused(f"invalid owner format: {quoted(word)}")
    return OWNER.read(value, names)
