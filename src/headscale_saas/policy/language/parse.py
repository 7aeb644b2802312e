"""From the text of a policy file to a Document."""

from collections.abc import Collection

from headscale_saas.policy.language import hujson
from headscale_saas.policy.language.acls import read_acls
from headscale_saas.policy.language.approvers import (
    read_approvers,
    read_route_approvers,
    read_service_approvers,
)
from headscale_saas.policy.language.definitions import read_groups, read_hosts, read_tag_owners
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.grants import read_grants
from headscale_saas.policy.language.ipsets import read_ipsets
from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.node_attrs import read_node_attrs
from headscale_saas.policy.language.policy_tests import read_ssh_tests, read_tests
from headscale_saas.policy.language.postures import read_attribute_config, read_postures_section
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.relays import read_relays
from headscale_saas.policy.language.rules import read_postures
from headscale_saas.policy.language.shapes import Fields, boolean, fields, members, optional_string, spellings
from headscale_saas.policy.language.ssh import read_ssh
from headscale_saas.policy.language.values import Value

_SECTIONS = spellings(
    *("groups", "hosts", "ipsets", "tagOwners", "acls", "grants", "ssh", "autoApprovers", "nodeAttrs"),
    *("postures", "defaultSrcPosture", "attrConfig", "tests", "sshTests", "derpMap"),
    *("disableIPv4", "OneCGNATRoute", "randomizeClientPort"),
)
_APPROVERS = spellings("routes", "exitNode", "services")
_CGNAT_ROUTES = ("", "mac-always", "mac-never")


def parse(text: str, *, domains: Collection[str] = ()) -> Document:
    """What the policy file says. `domains` are those associated with the tailnet; none = not known.

    Raises PolicyError, an Invalid, for the first thing that is wrong: definitions first, then the rules.
    """
    sections = fields(hujson.parse(text), _SECTIONS)
    names = _names(sections, domains)
    approvers = fields(sections["autoApprovers"], _APPROVERS) if "autoApprovers" in sections else {}
    return Document(
        hosts=names.hosts,
        groups=read_groups(sections.get("groups"), names),
        tag_owners=read_tag_owners(sections.get("tagOwners"), names),
        ipsets=read_ipsets(sections.get("ipsets"), names),
        postures=read_postures_section(sections.get("postures")),
        default_postures=read_postures(sections.get("defaultSrcPosture"), names) or (),
        attributes=read_attribute_config(sections.get("attrConfig")),
        grants=read_grants(sections.get("grants"), names),
        acls=read_acls(sections.get("acls"), names),
        ssh=read_ssh(sections.get("ssh"), names),
        route_approvers=read_route_approvers(approvers.get("routes"), names),
        exit_node_approvers=read_approvers(approvers.get("exitNode"), names),
        service_approvers=read_service_approvers(approvers.get("services"), names),
        node_attrs=read_node_attrs(sections.get("nodeAttrs"), names),
        tests=read_tests(sections.get("tests")),
        ssh_tests=read_ssh_tests(sections.get("sshTests"), names),
        relays=read_relays(sections.get("derpMap")),
        disable_ipv4=boolean(sections.get("disableIPv4")),
        one_cgnat_route=_cgnat_route(sections.get("OneCGNATRoute")),
        randomize_client_port=boolean(sections.get("randomizeClientPort")),
    )


def _names(sections: Fields, domains: Collection[str]) -> Names:
    def keys(section: str) -> frozenset[str]:
        return frozenset(name for name, _ in members(sections.get(section)))

    return Names(
        hosts=read_hosts(sections.get("hosts")),
        groups=keys("groups"),
        tags=keys("tagOwners"),
        ipsets=keys("ipsets"),
        postures=keys("postures"),
        domains=frozenset(domains),
    )


def _cgnat_route(value: Value | None) -> str:
    setting = optional_string(value)
    if value and setting not in _CGNAT_ROUTES:
        raise value.refused(f'OneCGNATRoute={quoted(setting)} is not one of "mac-always", "mac-never" and ""')
    return setting
