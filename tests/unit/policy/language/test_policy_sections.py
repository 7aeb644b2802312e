"""What a Document holds after reading: section by section, also in the old spellings."""

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

import pytest

from headscale_saas.policy.language import Document, Kind, Position, Selector, parse
from headscale_saas.policy.language.document import (
    AclTarget,
    Assertion,
    AttributeConfig,
    IpEntry,
    IpsetStep,
    NodeAttr,
    PolicyRelays,
    PolicyTest,
    RouteApprover,
    SshTest,
)
from headscale_saas.policy.language.selectors import ANY, INTERNET, MEMBER, SELF
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailcfg.derpmap import DERPNode, DERPRegion
from headscale_saas.tailcfg.filters import PortRange

ALL_PORTS = (PortRange(),)
ALICE = Selector(Kind.USER, "alice@example.com")
GROUP = Selector(Kind.GROUP, "group:eng")
WEB = Selector(Kind.TAG, "tag:web")


def test_nothing_said_is_everything_allowed() -> None:
    assert parse("{}") == Document()
    assert parse("{}").acls is None
    assert parse("{}").grants is None


@pytest.mark.parametrize("section", ["acls", "grants"])
def test_an_empty_list_of_rules_is_not_absence(section: str) -> None:
    assert getattr(parse('{"' + section + '": []}'), section) == ()
    assert getattr(parse('{"' + section + '": null}'), section) is None


def test_null_is_absence_everywhere() -> None:
    names = [
        "groups",
        "hosts",
        "ipsets",
        "tagOwners",
        "ssh",
        "autoApprovers",
        "nodeAttrs",
        "postures",
        "tests",
    ]
    names += ["defaultSrcPosture", "attrConfig", "sshTests", "derpMap", "disableIPv4", "OneCGNATRoute"]
    assert parse("{" + ",".join(f'"{name}": null' for name in names) + "}") == Document()


def test_definitions() -> None:
    document = parse("""{
        "groups": {"group:eng": [" alice@example.com ", "user:*@example.org"], "group:none": null},
        "hosts": {"web": "10.0.0.1", "net": "10.1.2.3/8", "six": "fd00::1"},
        "tagOwners": {"tag:web": ["group:eng", "tag:web", "autogroup:admin"], "tag:db": []},
    }""")
    assert document.groups == {
        "group:eng": (ALICE, Selector(Kind.DOMAIN, "example.org")),
        "group:none": (),
    }
    assert document.hosts == {
        "web": IPv4Network("10.0.0.1/32"),
        "net": IPv4Network("10.0.0.0/8"),
        "six": IPv6Network("fd00::1/128"),
    }
    admins = Selector(Kind.AUTOGROUP, "autogroup:admin")
    assert document.tag_owners == {"tag:web": (GROUP, WEB, admins), "tag:db": ()}


def test_ipsets() -> None:
    document = parse("""{"hosts": {"web": "10.0.0.1"}, "ipsets": {
        "ipset:a": ["10.0.0.0/8", "host:web", "fd00::1 - fd00::9", "ipset:b"],
        "ipset:b": ["add autogroup:internet", "remove  10.0.0.1-10.0.0.9"],
    }}""")
    assert document.ipsets["ipset:a"] == (
        IpsetStep(True, Selector(Kind.PREFIX, "10.0.0.0/8")),
        IpsetStep(True, Selector(Kind.HOST, "web")),
        IpsetStep(True, ("fd00::1", "fd00::9")),
        IpsetStep(True, Selector(Kind.IPSET, "ipset:b")),
    )
    assert document.ipsets["ipset:b"] == (
        IpsetStep(True, INTERNET),
        IpsetStep(False, ("10.0.0.1", "10.0.0.9")),
    )


def test_an_acl() -> None:
    document = parse("""{"hosts": {"web": "10.0.0.1"}, "postures": {"posture:mac": []}, "acls": [
        {"action": "accept", "src": ["*", "web"],
         "dst": ["web:22,80-81", "[fd00::1]:1", "[fd00::]/64:*", "fd00::1:22"],
         "proto": "Udp", "srcPosture": ["posture:mac"], "#note": {"any": "thing"}},
        {"action": "accept"}
    ]}""")
    assert document.acls
    full, empty = document.acls
    assert full.position == Position(2, 9)
    assert full.sources == (ANY, Selector(Kind.HOST, "web"))
    assert full.targets == (
        AclTarget(Selector(Kind.HOST, "web"), (PortRange(22, 22), PortRange(80, 81))),
        AclTarget(Selector(Kind.PREFIX, "fd00::1/128"), (PortRange(1, 1),)),
        AclTarget(Selector(Kind.PREFIX, "fd00::/64"), ALL_PORTS),
        AclTarget(Selector(Kind.PREFIX, "fd00::1/128"), (PortRange(22, 22),)),
    )
    assert (full.protocol, full.postures) == (17, ("posture:mac",))
    assert (empty.sources, empty.targets, empty.protocol, empty.postures) == ((), (), None, None)


@pytest.mark.parametrize(
    "sources", ["*", "autogroup:member", "autogroup:admin", "alice@example.com", "user:*@b.c"]
)
def test_people_and_everybody_may_reach_their_own_devices(sources: str) -> None:
    document = parse(
        '{"acls": [{"action": "accept", "src": ["' + sources + '"], "dst": ["autogroup:self:*"]}]}'
    )
    assert document.acls
    assert document.acls[0].targets == (AclTarget(SELF, ALL_PORTS),)


def test_old_spellings() -> None:
    document = parse("""{
        "ACLs": [{"Action": "accept", "Users": ["autogroup:members"], "Ports": ["*:*"]}],
        "Groups": {"group:eng": []}, "Hosts": {"web": "10.0.0.1"}, "TagOwners": {"tag:web": []},
        "AutoApprovers": {"ExitNode": ["tag:web"]}, "derpmap": {"OmitDefaultRegions": true},
        "Tests": [{"User": "alice@example.com", "Allow": ["web:22"]}],
    }""")
    assert document.acls
    assert document.acls[0].sources == (MEMBER,)
    assert document.acls[0].targets == (AclTarget(ANY, ALL_PORTS),)
    assert document.exit_node_approvers == (WEB,)
    assert document.relays == PolicyRelays({}, True)
    assert document.tests[0].source == "alice@example.com"
    assert document.tests[0].accept == ("web:22",)


def test_a_grant() -> None:
    document = parse("""{"tagOwners": {"tag:web": []}, "grants": [{
        "src": [" autogroup:danger-all "], "dst": ["*", "svc:db"], "via": ["tag:web"], "srcPosture": [],
        "ip": ["*", "22,80", "tcp:443", "47:*", "icmp:*"]
    }]}""")
    assert document.grants
    (grant,) = document.grants
    assert grant.sources == (Selector(Kind.AUTOGROUP, "autogroup:danger-all"),)
    assert grant.destinations == (ANY, Selector(Kind.SERVICE, "svc:db"))
    assert grant.ip == (
        IpEntry(None, ALL_PORTS),
        IpEntry(None, (PortRange(22, 22), PortRange(80, 80))),
        IpEntry(6, (PortRange(443, 443),)),
        IpEntry(47, ALL_PORTS),
        IpEntry(1, ALL_PORTS),
    )
    assert (grant.via, grant.postures) == (("tag:web",), ())


def test_capabilities_are_passed_on_as_written() -> None:
    written = '{"example.com/cap/x":[{"b":1.50,"a":[1e2,null,true,"é"]},12345678901234567890123],"a.b/c":[]}'
    document = parse('{"grants": [{"app": ' + written + "}]}")
    assert document.grants
    assert encode(document.grants[0].app) == written.encode()


@pytest.mark.parametrize(
    "name", ["drive", "golink", "kubernetes", "relay", "secrets", "tailsql", "tsidp", "webui"]
)
def test_reserved_capabilities_that_may_be_granted(name: str) -> None:
    assert parse('{"grants": [{"app": {"tailscale.com/cap/' + name + '": []}}]}').grants


def test_ssh() -> None:
    document = parse("""{"tagOwners": {"tag:web": []}, "ssh": [
        {"action": " check ", "src": [" alice@example.com "],
         "dst": [" tag:web ", "alice@example.com", "autogroup:self"],
         "users": [" root ", "autogroup:nonroot", "localpart:*@example.com", "localpart:*@", "group:foo"],
         "checkPeriod": "1h30m", "acceptEnv": ["LC_*"], "recorder": ["tag:web"], "enforceRecorder": true},
        {"action": "accept", "users": ["root"], "checkPeriod": null, "src": [], "dst": null}
    ]}""")
    check, accept = document.ssh
    assert (check.is_check, accept.is_check) == (True, False)
    assert check.sources == (ALICE,)
    assert check.destinations == (WEB, ALICE, SELF)
    assert check.users == (
        "root",
        "autogroup:nonroot",
        "localpart:*@example.com",
        "localpart:*@",
        "group:foo",
    )
    assert (check.check_period, accept.check_period) == (timedelta(minutes=90), timedelta(hours=12))
    assert (check.accept_env, check.recorders, check.enforce_recorder) == (("LC_*",), (WEB,), True)
    assert (accept.sources, accept.destinations) == ((), ())


@pytest.mark.parametrize(
    ("written", "hours"), [("always", 0.0), ("0s", 0), ("168h", 168), ("30s", 30 / 3600)]
)
def test_how_long_a_check_holds(written: str, hours: float) -> None:
    rule = '{"action": "check", "users": ["root"], "checkPeriod": "' + written + '"}'
    assert parse('{"ssh": [' + rule + "]}").ssh[0].check_period == timedelta(hours=hours)


def test_node_attributes() -> None:
    document = parse("""{"hosts": {"web": "10.0.0.1"}, "nodeAttrs": [
    {"target": ["*", "web", "autogroup:admin"], "attr": ["funnel", "nextdns:abc"],
     "ipPool": ["100.81.0.0/16"], "app": {"tailscale.com/app-connectors": [{"name": "x"}]}},
    {}]}""")
    admins = Selector(Kind.AUTOGROUP, "autogroup:admin")
    assert document.node_attrs == (
        NodeAttr(
            position=Position(2, 5),
            targets=(ANY, Selector(Kind.HOST, "web"), admins),
            attributes=("funnel", "nextdns:abc"),
            ip_pools=(IPv4Network("100.81.0.0/16"),),
            app={"tailscale.com/app-connectors": ({"name": "x"},)},
        ),
        NodeAttr(position=Position(4, 5), targets=()),
    )


def test_approvers() -> None:
    document = parse("""{"tagOwners": {"tag:web": []}, "groups": {"group:eng": []}, "autoApprovers": {
        "routes": {"10.1.0.0/8": ["tag:web"], "::/0": ["group:eng", "autogroup:member"]},
        "exitNode": ["alice@example.com"], "services": {"svc:db": ["tag:web"], "tag:web": ["group:eng"]}}}""")
    assert document.route_approvers == (
        RouteApprover(IPv4Network("10.0.0.0/8"), (WEB,)),
        RouteApprover(IPv6Network("::/0"), (GROUP, MEMBER)),
    )
    assert document.exit_node_approvers == (ALICE,)
    assert document.service_approvers == {"svc:db": (WEB,), "tag:web": (GROUP,)}


def test_postures() -> None:
    document = parse("""{
        "defaultSrcPosture": ["posture:mac"], "postures": {"posture:mac": ["node:os == 'macos'"]},
        "attrConfig": {"custom:tier": {"type": "string", "allowSetByNode": true}}}""")
    assert document.postures == {"posture:mac": (Assertion("node:os", "==", ("macos",)),)}
    assert document.default_postures == ("posture:mac",)
    assert document.attributes == {"custom:tier": AttributeConfig(type="string", allow_set_by_node=True)}


def test_tests_are_kept_as_written() -> None:
    document = parse("""{
        "tests": [{"src": "%bogus%", "accept": ["x"], "deny": ["y:1"], "proto": "x",
                   "srcPostureAttrs": {"node:os": "js"}},
                  {}],
        "sshTests": [{"src": "", "dst": ["srv", "10.0.0.1", "10.0.0.1/32", "a b"],
                      "accept": [""], "check": [], "deny": null}]
    }""")
    assert document.tests == (
        PolicyTest(
            position=Position(2, 19),
            source="%bogus%",
            accept=("x",),
            deny=("y:1",),
            protocol="x",
            posture_attributes={"node:os": "js"},
        ),
        PolicyTest(position=Position(4, 19)),
    )
    destinations = ("srv", "10.0.0.1", "10.0.0.1/32", "a b")
    assert document.ssh_tests == (SshTest(position=Position(5, 22), destinations=destinations, accept=("",)),)


def test_network_wide_options() -> None:
    document = parse('{"disableIPv4": true, "OneCGNATRoute": "mac-never", "randomizeClientPort": true}')
    assert (document.disable_ipv4, document.one_cgnat_route, document.randomize_client_port) == (
        True,
        "mac-never",
        True,
    )


def test_relays() -> None:
    document = parse("""{"derpMap": {"omitDefaultRegions": true, "regions": {"1": null, "900": {
        "regionID": 900, "regionCode": "x", "regionName": "X", "avoid": true, "latitude": 1.5,
        "nodes": [{"name": "1", "regionID": 900, "hostName": "derp.example.com", "ipv4": "192.0.2.1",
                   "stunPort": -1, "stunOnly": false, "derpPort": 8443, "canPort80": true}]}}}}""")
    node = DERPNode(
        name="1",
        region_id=900,
        host_name="derp.example.com",
        ipv4="192.0.2.1",
        stun_port=-1,
        derp_port=8443,
        can_port_80=True,
    )
    region = DERPRegion(
        region_id=900, region_code="x", region_name="X", avoid=True, latitude=1.5, nodes=(node,)
    )
    assert document.relays == PolicyRelays({1: None, 900: region}, True)
