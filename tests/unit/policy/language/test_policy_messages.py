"""What is refused, in whose words, and at which place: the place at fault is marked with ▶ in the texts."""

import pickle

import pytest

from headscale_saas.policy.language import PolicyError, Position, parse

DEFINED = """
    "groups": {"group:eng": ["alice@example.com"]},
    "hosts": {"srv": "10.0.0.1", "net": "10.0.0.0/8"},
    "ipsets": {"ipset:prod": ["host:srv"]},
    "tagOwners": {"tag:web": ["group:eng"], "tag:db": []},
    "postures": {"posture:mac": ["node:os == 'macos'"]},
"""
DOMAINS = ("example.com",)


def refusal(marked: str) -> PolicyError:
    """Why the policy is refused; checks that the place is the marked one."""
    before, mark, after = marked.partition("▶")
    assert mark
    with pytest.raises(PolicyError) as caught:
        parse(before + after, domains=DOMAINS)
    line, column = before.count("\n") + 1, len(before.rpartition("\n")[2].encode()) + 1
    assert caught.value.position == Position(line, column)
    return caught.value


def acl(members: str) -> str:
    return "{" + DEFINED + '"acls": [{"action": "accept", ' + members + "}]}"


def grant(members: str) -> str:
    return "{" + DEFINED + '"grants": [{' + members + "}]}"


def ssh(members: str) -> str:
    return "{" + DEFINED + '"ssh": [{' + members + "}]}"


def section(members: str) -> str:
    return "{" + DEFINED + members + "}"


NO_SELF = '"autogroup:self" not valid on the src side of a rule'
SELF = "autogroup:self can only be used with users, groups, or supported autogroups"
ALL = 'to allow all IP addresses, use "*" or "autogroup:internet"'
FORM = "capability name must have the form {domain}/{path}"
RESERVED = "capability name must not be in the tailscale.com domain"
FOREIGN = "is not associated with this Tailnet and cannot be used in user:*@<domain> expressions"
FIRST = "first port must be >0, or use '*' for wildcard"
NESTED = "group members cannot be recursive"
PORTS = 'a grant\'s ports go into its "ip"'
RANGE = "IPPool({}): network within reserved range"
LETTER = "tag names must start with a letter, after 'tag:'"

ACLS = [
    ('"src": [▶"tag:x"], "dst": ["*:*"]', 'src=tag not found: "tag:x"'),
    ('"src": ["*"], "dst": [▶"tag:x:22"]', 'dst="tag:x": tag not found: "tag:x"'),
    ('"src": [▶"autogroup:self"], "dst": ["*:*"]', NO_SELF),
    ('"src": ▶["tag:web"], "dst": ["autogroup:self:*"]', SELF),
    ('"src": ▶["alice@example.com", "tag:web"], "dst": ["autogroup:self:*"]', SELF),
    ('"src": ▶["autogroup:tagged"], "dst": ["autogroup:self:*"]', SELF),
    ('"src": ▶["srv"], "dst": ["autogroup:self:*"]', SELF),
    ('"src": ▶["10.0.0.0/8"], "dst": ["autogroup:self:*"]', SELF),
    ('"src": ["*"], "dst": [▶"autogroup:danger-all:*"]', "cannot use autogroup:danger-all as a dst"),
    ('"dst": [▶"tag:web:ssh"]', 'dst="tag:web:ssh": port range "ssh": invalid first integer'),
    ('"dst": [▶"autogroup:self"]', 'dst="autogroup:self": port range "self": invalid first integer'),
    ('"dst": [▶"*:0"]', f'dst="*:0": port range "0": {FIRST}'),
    ('"dst": [▶"*:22,"]', 'dst="*:22,": port range "": invalid first integer'),
    ('"dst": [▶"*:-1"]', 'dst="*:-1": port range "-1": invalid first integer'),
    ('"dst": [▶"*:1-x"]', 'port range "1-x": invalid last integer'),
    ('"dst": [▶"*:9-1"]', "invalid port range: first port is greater than last port"),
    ('"dst": [▶"*:65536"]', "port number out of range"),
    ('"dst": [▶"srv"]', "hostport must contain a colon"),
    ('"dst": [▶":80"]', "input cannot start with a colon character"),
    ('"dst": [▶"srv:"]', "input cannot end with a colon character"),
    ('"dst": [▶"[srv]:80"]', 'square brackets are only valid around IPv6 addresses: "[srv]"'),
    ('"dst": [▶"[10.0.0.1]:80"]', "square brackets are only valid around IPv6 addresses"),
    ('"src": [▶"autogroup:internet"]', "autogroup:internet can only be used in ACL destinations"),
    ('"src": [▶"autogroup:x"]', 'invalid autogroup: got "autogroup:x", must be one of [autogroup:internet '),
    (
        '"src": [▶"autogroup:nonroot"]',
        'autogroup not supported for ACL sources: "autogroup:nonroot", can be [',
    ),
    ('"dst": [▶"autogroup:shared:*"]', 'autogroup not supported for ACL destinations: "autogroup:shared"'),
    ('"src": [▶"svc:web"]', 'alias not supported for ACL source: "svc:web"'),
    ('"src": [▶"group:x"]', 'group not defined in policy: "group:x"'),
    ('"src": [▶"ipset:x"]', 'ipset not defined in policy: "ipset:x"'),
    ('"src": [▶"unknown"]', 'host not defined in policy: "unknown"'),
    ('"src": [▶"%bogus%"]', '"%bogus%": invalid address'),
    ('"src": [▶"foo:bar"]', '"foo:bar": invalid address'),
    ('"src": [▶"10.0.0.0/33"]', '"10.0.0.0/33": invalid address'),
    ('"src": [▶"user:*@example.org"]', f"[acls] example.org {FOREIGN}"),
    (
        '"proto": ▶"*"',
        'proto name "*" not known; use protocol number 0-255 or protocol name (icmp, tcp, udp, etc.)',
    ),
    ('"proto": ▶"06"', 'leading 0 not permitted in protocol number: "06"'),
    ('"proto": ▶"256"', "protocol number out of range (0-255): 256"),
    (
        '"proto": ▶"x"',
        'invalid protocol number: "x" must be a known protocol name or valid protocol number 0-255',
    ),
    (
        '"proto": "icmp", "dst": [▶"*:80"]',
        'protocol does not support specific ports: "icmp", only "*" is allowed',
    ),
    ('"srcPosture": [▶"posture:x"]', 'posture not found: "posture:x"'),
    ('▶"rules": []', 'unknown field: "rules"'),
    ('"src": [], ▶"SRC": []', 'duplicate member name "SRC"'),
    ('"src": [], ▶"users": []', 'duplicate member name "users"'),
    ('"src": ▶"*"', "expected an array, got a string"),
    ('"src": [▶null]', "expected a string, got null"),
]


@pytest.mark.parametrize(("members", "message"), ACLS)
def test_acls(members: str, message: str) -> None:
    assert message in refusal(acl(members)).message


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('{"action": ▶"deny"}', 'action="deny" is not supported'),
        ('{"action": ▶"Accept"}', 'action="Accept" is not supported'),
        ('▶{"src": ["*"]}', 'action="" is not supported'),
        ("▶null", "expected an object, got null"),
        ("▶[]", "expected an object, got an array"),
    ],
)
def test_the_action_of_an_acl(rule: str, message: str) -> None:
    assert message in refusal(section(f'"acls": [{rule}]')).message


GRANTS = [
    ('"src": [▶"tag:x"], "ip": ["*"]', 'src=tag not found: "tag:x"'),
    ('"dst": [▶"tag:x"], "ip": ["*"]', 'tag not found: "tag:x"'),
    ('"dst": [▶"*:22"], "ip": ["*"]', f'"*:22": invalid address; {PORTS}'),
    ('"dst": [▶"tag:web:22,80-90"], "ip": ["*"]', f'tag not found: "tag:web:22,80-90"; {PORTS}'),
    ('"dst": [▶"srv:*"], "ip": ["*"]', f'"srv:*": invalid address; {PORTS}'),
    ('"dst": [▶"srv:http"], "ip": ["*"]', '"srv:http": invalid address'),
    ('"via": [▶"tag:x"], "ip": ["*"]', 'tag "tag:x" not found'),
    ('"via": [▶"group:eng"], "ip": ["*"]', "via can only be a tag"),
    ('"via": [▶"*"], "ip": ["*"]', "via can only be a tag"),
    ('"src": [▶"autogroup:self"], "ip": ["*"]', NO_SELF),
    ('"src": ▶["*"], "dst": ["autogroup:self"], "ip": ["*"]', SELF),
    ('"src": ▶["autogroup:member", "net"], "dst": ["autogroup:self"], "ip": ["*"]', SELF),
    ('"dst": [▶"autogroup:danger-all"], "ip": ["*"]', "cannot use autogroup:danger-all as a dst"),
    ('"dst": [▶"0.0.0.0/0"], "ip": ["*"]', f'dst "0.0.0.0/0": {ALL}'),
    ('"dst": [▶"::/0"], "ip": ["*"], "via": ["tag:web"]', f'dst "::/0": {ALL}'),
    ('"ip": [▶"icmp"]', 'port range "icmp": invalid first integer'),
    ('"ip": [▶"tcp:ssh"]', 'port range "ssh": invalid first integer'),
    ('"ip": [▶"tcp:0"]', f'port range "0": {FIRST}'),
    ('"ip": [▶"x:80"]', 'invalid protocol number: "x"'),
    ('"ip": [▶"tcp:1:2"]', 'expected only one colon in Internet protocol and port type, got: "tcp:1:2"'),
    (
        '"dst": ["autogroup:internet"], "app": ▶{"example.com/cap/x": []}',
        "cannot use app grants with autogroup:internet",
    ),
    ('"app": {▶"https://example.com/cap/x": [1]}', FORM),
    ('"app": {▶"example.com": [1]}', FORM),
    ('"app": {▶"/cap": [1]}', FORM),
    ('"app": {▶"tailscale.com/cap/relay-target": []}', RESERVED),
    ('"app": {▶"tailscale.com/cap/ingress": []}', RESERVED),
    ('"app": {▶"tailscale.com/cap/funnel": []}', RESERVED),
    ('"app": {▶"tailscale.com/app-connectors": []}', RESERVED),
    ('"app": {"example.com/cap/x": ▶{}}', "expected an array, got an object"),
    ('"src": [▶"user:*@EXAMPLE.COM"], "ip": ["*"]', f"[grants] EXAMPLE.COM {FOREIGN}"),
    ('"ip": ["*"], ▶"proto": "tcp"', 'unknown field: "proto"'),
]


@pytest.mark.parametrize(("members", "message"), GRANTS)
def test_grants(members: str, message: str) -> None:
    assert message in refusal(grant(members)).message


@pytest.mark.parametrize("members", ["", '"ip": []', '"ip": null, "app": {}', '"src": ["*"], "dst": ["*"]'])
def test_a_grant_of_nothing(members: str) -> None:
    text = section('"grants": [▶{' + members + "}]")
    assert refusal(text).message == "ip and app can not both be empty"


RULE = '"action": "accept", "users": ["root"], '
SSH = [
    ('▶"actions": "accept"', 'unknown field: "actions"'),
    ('"action": ▶"", "users": ["root"]', "action must be specified"),
    ('"action": ▶"Accept", "users": ["root"]', '"Accept" is not a valid action'),
    ('"action": ▶"deny", "users": ["root"]', '"deny" is not a valid action'),
    ('"action": "accept", "users": ▶[]', "users must be specified"),
    ('"action": "accept", "users": [▶""]', 'user "" is not valid'),
    ('"action": "accept", "users": ["root", ▶" "]', 'user "" is not valid'),
    ('"action": "accept", "users": [▶"*"]', 'user "*" is not valid'),
    ('"action": "accept", "users": [▶"localpart:*@example.org"]', f"example.org {FOREIGN}"),
    ('"action": "accept", "users": [▶"localpart:*@*"]', f"* {FOREIGN}"),
    ('"action": "accept", "users": [▶"localpart:*@EXAMPLE.COM"]', f"EXAMPLE.COM {FOREIGN}"),
    (RULE + '"acceptEnv": [▶""]', "acceptEnv values cannot be empty"),
    (RULE + '"src": [▶"user:*@example.org"]', f"[ssh] example.org {FOREIGN}"),
    (RULE + '"src": [▶"tag:x"]', 'tag not found: "tag:x"'),
    (RULE + '"src": [▶"autogroup:self"]', NO_SELF),
    (RULE + '"src": [▶"autogroup:internet"]', "autogroup:internet can only be used in ACL destinations"),
    (RULE + '"src": [▶"autogroup:danger-all"]', 'autogroup not supported for SSH sources: '),
    (RULE + '"src": [▶"*"]', "alias not supported for SSH source: "),
    (RULE + '"src": [▶"srv"]', "alias not supported for SSH source: "),
    (RULE + '"src": [▶"10.0.0.1"]', 'alias not supported for SSH source: "10.0.0.1"'),
    (RULE + '"dst": [▶"srv"]', 'invalid dst "srv"'),
    (RULE + '"dst": [▶"net"]', 'invalid dst "net"'),
    (RULE + '"dst": [▶"10.0.0.1"]', 'invalid dst "10.0.0.1"'),
    (RULE + '"dst": [▶" fd7a::1 "]', 'invalid dst "fd7a::1"'),
    (RULE + '"dst": [▶"tag:x"]', 'tag not found: "tag:x"'),
    (RULE + '"dst": [▶"group:eng"]', "alias not supported for SSH destination: "),
    (RULE + '"dst": [▶"*"]', "wildcard (*) is not supported as SSH destination; use 'autogroup:member'"),
    (RULE + '"dst": [▶"autogroup:member"]', 'autogroup not supported for SSH destinations: '),
    (
        RULE + '"src": ["tag:web"], "dst": [▶"alice@example.com"]',
        "tags in SSH source cannot access user-owned devices (alice@example.com); use autogroup:tagged",
    ),
    (
        RULE + '"src": ["bob@example.com"], "dst": ["tag:web", ▶"alice@example.com"]',
        'user destination requires source to contain only that same user "alice@example.com"; ',
    ),
    (
        RULE + '"src": ["tag:web"], "dst": [▶"autogroup:self"]',
        "autogroup:self destination requires source to contain only users or groups, not tags",
    ),
    (RULE + '"checkPeriod": ▶"1h"', 'checkPeriod is only valid with action "check"'),
    (RULE + '"recorder": [▶"srv"]', 'recorder "srv" is not a tag'),
]  # fmt: skip


@pytest.mark.parametrize(("members", "message"), SSH)
def test_ssh(members: str, message: str) -> None:
    assert message in refusal(ssh(members)).message


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("", "action must be specified"),
        ('"action": null', "action must be specified"),
        ('"action": "accept"', "users must be specified"),
        ('"action": "check", "users": null', "users must be specified"),
    ],
)
def test_what_an_ssh_rule_must_have(members: str, message: str) -> None:
    assert refusal(section('"ssh": [▶{' + members + "}]")).message == message


@pytest.mark.parametrize(
    ("period", "message"),
    [
        ("abc", 'time: invalid duration "abc"'),
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
        ("-1m", "checkPeriod -1m0s must be a positive duration"),
        ("168h0m1s", "checkPeriod 168h0m1s is above the max (168h)"),
        ("200h", "checkPeriod 200h0m0s is above the max (168h)"),
    ],
)
def test_check_periods(period: str, message: str) -> None:
    text = ssh(f'"action": "check", "users": ["root"], "checkPeriod": ▶"{period}"')
    assert refusal(text).message == message


SECTIONS = [
    ('"nodeAttrs": [{"target": [▶"tag:x"]}]', 'tag not found: "tag:x"'),
    ('"nodeAttrs": [{"target": [▶"%bogus%"]}]', '"%bogus%": invalid address'),
    ('"nodeAttrs": [{"target": [▶"autogroup:self"]}]', 'this autogroup: "autogroup:self", can be ['),
    ('"nodeAttrs": [{"target": [▶"ipset:prod"]}]', 'nodeAttrs target does not support "ipset:prod"'),
    ('"nodeAttrs": [{"ipPool": [▶"100.100.100.0/24"]}]', RANGE.format("100.100.100.0/24")),
    ('"nodeAttrs": [{"ipPool": [▶"100.115.92.0/25"]}]', RANGE.format("100.115.92.0/25")),
    ('"nodeAttrs": [{"ipPool": [▶"10.0.0.0/8"]}]', "IPPool(10.0.0.0/8): network must be within"),
    ('"nodeAttrs": [{"ipPool": [▶"fd00::/8"]}]', "IPPool(fd00::/8): not an IPv4 network"),
    ('"nodeAttrs": [{"app": {▶"tailscale.com/cap/drive": []}}]', RESERVED),
    ('"autoApprovers": {"exitNode": [▶"srv"]}', 'invalid auto approver format: "srv"'),
    ('"autoApprovers": {"exitNode": [▶"a:b"]}', 'invalid auto approver format: "a:b"'),
    ('"autoApprovers": {"exitNode": [▶"tag:x"]}', 'tag not found: "tag:x"'),
    ('"autoApprovers": {"routes": {▶"srv": []}}', '"srv" is not a network prefix'),
    ('"autoApprovers": {"services": {▶"srv": []}}', '"srv" is neither a service nor a tag'),
    ('"autoApprovers": {"services": {▶"tag:x": []}}', 'tag not found: "tag:x"'),
    ('"sshTests": [{"dst": [▶"tag:web:22"]}]', 'SSH tests dst contains unknown tag "tag:web:22"'),
    ('"sshTests": [{"dst": [▶"10.0.0.0/24"]}]', 'SSH tests dst contains disallowed element "10.0.0.0/24"'),
    ('"sshTests": [{"dst": [▶"fd7a::/32"]}]', 'SSH tests dst contains disallowed element "fd7a::/32"'),
    ('"sshTests": [{"dst": [▶"autogroup:internet"]}]', 'disallowed element "autogroup:internet"'),
    ('"tests": [{"src": ▶5}]', "expected a string, got a number"),
    ('"defaultSrcPosture": [▶"posture:x"]', 'posture not found: "posture:x"'),
    ('"attrConfig": {▶"tier": {}}', "\"tier\" does not start with 'custom:'"),
    ('"attrConfig": {"custom:tier": {"type": ▶"x"}}', 'type "x" is not known'),
    ('"disableIPv4": ▶1', "expected true or false, got a number"),
    ('"OneCGNATRoute": ▶"always"', 'OneCGNATRoute="always" is not one of "mac-always", "mac-never" and ""'),
    ('"derpMap": {"regions": {▶"0": null}}', 'derpMap: "0" is not the number of a region'),
    ('"derpMap": {"regions": {"900": {"regionID": ▶1}}}', "derpMap: regionID 1 in region 900"),
    ('"derpMap": {"regions": {"900": {"nodes": [▶{"name": "a"}]}}}', "a node needs a name and a hostName"),
    ('"derpMap": {"regions": {"900": {"latitude": ▶1e999}}}', "expected a finite number"),
    ('▶"rules": []', 'unknown field: "rules"'),
    ('▶"groups": {}', 'duplicate member name "groups"'),
    ('▶"Groups": {}', 'duplicate member name "Groups"'),
]  # fmt: skip


@pytest.mark.parametrize(("members", "message"), SECTIONS)
def test_sections(members: str, message: str) -> None:
    assert message in refusal(section(members)).message


DEFINITIONS = [
    ('{"groups": {"group:g": [▶"group:h"]}}', f'groups["group:g"]: "group:h": {NESTED}'),
    ('{"groups": {"group:a": ["group:b"], "group:b": [▶"group:a"]}}', f'["group:b"]: "group:a": {NESTED}'),
    (
        '{"groups": {"group:a": ["group:b"], "group:b": ["x@y", ▶"group:c"], "group:c": ["x@y"]}}',
        f'groups["group:b"]: "group:c": {NESTED}',
    ),
    ('{"groups": {"group:g": [▶"group:x@y"]}}', f'"group:x@y": {NESTED}'),
    ('{"groups": {▶"eng": []}}', "group must start with 'group:', got: \"eng\""),
    ('{"groups": {"group:g": [▶"alice"]}}', 'username must contain @, got: "alice"'),
    ('{"groups": {"group:g": ▶"alice@x"}}', "expected an array, got a string"),
    ('{"groups": {"group:g": [▶"user:*@example.org"]}}', f"[groups] example.org {FOREIGN}"),
    ('{"hosts": {"h": ▶"x"}}', 'hostname contains invalid IP address: hostname "h" address "x"'),
    ('{"hosts": {▶"a@b": "10.0.0.1"}}', 'invalid hostname: "a@b"'),
    ('{"hosts": {▶"a:b": "10.0.0.1"}}', 'invalid hostname: "a:b"'),
    ('{"tagOwners": {▶"tag:сервер": []}}', f'tagOwners["tag:сервер"]: {LETTER}'),
    ('{"tagOwners": {▶"tag:1": []}}', f'tagOwners["tag:1"]: {LETTER}'),
    ('{"tagOwners": {▶"tag:": []}}', f'tagOwners["tag:"]: {LETTER}'),
    ('{"tagOwners": {▶"web": []}}', "tagOwners[\"web\"]: tags must start with 'tag:'"),
    ('{"tagOwners": {"tag:a": [▶"tag:b"]}}', 'tag "tag:a" references undefined tag "tag:b"'),
    ('{"tagOwners": {"tag:a": [▶"group:b"]}}', 'group not defined in policy: "group:b"'),
    ('{"tagOwners": {"tag:a": [▶"alice"]}}', 'invalid owner format: "alice"'),
    ('{"tagOwners": {"tag:a": [▶"*"]}}', 'invalid owner format: "*"'),
    ('{"tagOwners": {"tag:a": [▶"a:b"]}}', 'invalid owner format: "a:b"'),
    ('{"ipsets": {▶"x": []}}', "ipset must start with 'ipset:', got: \"x\""),
    ('{"ipsets": {"ipset:x": [▶"a@b"]}}', '"a@b" cannot be part of an ipset'),
    ('{"ipsets": {"ipset:x": [▶"add autogroup:member"]}}', '"autogroup:member" cannot be part of an ipset'),
    ('{"ipsets": {"ipset:x": [▶"ipset:y"]}}', 'ipset not defined in policy: "ipset:y"'),
    ('{"ipsets": {"ipset:x": [▶"10.0.0.9-10.0.0.1"]}}', "the range has no beginning before its end"),
    ('{"ipsets": {"ipset:x": [▶"10.0.0.9-fd00::"]}}', "the range has no beginning before its end"),
    ('{"ipsets": {"ipset:x": [▶"10.0.0.9-10.0.0.999"]}}', "invalid address"),
    ('{"ipsets": {"ipset:x": [▶"10.0.0.0/8", "remove 10.0.0.1"]}}', 'begin with "add" or "remove"'),
    ('{"ipsets": {▶"ipset:x": ["ipset:x"]}}', 'ipset "ipset:x" contains itself'),
    ('{"ipsets": {"ipset:0": ["ipset:b"], ▶"ipset:b": ["ipset:1"], "ipset:1": ["ipset:b"]}}', "contains"),
    ('{"postures": {▶"x": []}}', "posture must start with 'posture:', got: \"x\""),
    ('{"postures": {"posture:x": [▶"node:os"]}}', "expected <attribute> <operator> <value>"),
    ('{"postures": {"posture:x": [▶"node:what IS SET"]}}', 'unknown attribute "node:what"'),
    ("""{"postures": {"posture:x": [▶"node:os IN 'a'"]}}""", "invalid value after IN"),
    ("""{"postures": {"posture:x": [▶"node:os IN []"]}}""", "invalid value after IN"),
    ("""{"postures": {"posture:x": [▶"node:os == macos"]}}""", "after ==; texts stand in single quotes"),
    ("""{"postures": {"posture:x": [▶"node:os IN [\\"a\\"]"]}}""", "after IN; texts stand in single quotes"),
    ("""{"postures": {"posture:x": [▶"node:os == 'a', 'b'"]}}""", "invalid value after =="),
    ("""{"postures": {"posture:x": [▶"node:os NOT SET 'a'"]}}""", "invalid value after NOT SET"),
    ("""{"postures": {"posture:x": [▶"node:tsVersion > 1"]}}""", "> needs a version in quotes"),
    ("""{"postures": {"posture:x": [▶"custom:x >= 'a'"]}}""", ">= needs a number"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), DEFINITIONS)
def test_definitions(text: str, message: str) -> None:
    assert message in refusal(text).message


def test_the_two_spellings_of_member_are_not_mixed() -> None:
    text = acl('"src": ["autogroup:member", ▶"autogroup:members"]')
    assert "cannot both be used" in refusal(text).message


@pytest.mark.parametrize(
    ("text", "what"), [("▶null", "null"), ("▶[]", "an array"), ('▶"x"', "a string"), ("▶1", "a number")]
)
def test_a_policy_is_an_object(text: str, what: str) -> None:
    assert refusal(text).message == f"expected an object, got {what}"


def test_without_known_domains_any_domain_will_do() -> None:
    text = '{"ssh": [{"action": "accept", "src": ["user:*@b.org"], "users": ["localpart:*@c.org"]}]}'
    assert parse(text).ssh
    with pytest.raises(PolicyError):
        parse(text, domains=DOMAINS)


def test_one_must_not_stand_for_all_domains() -> None:
    with pytest.raises(PolicyError, match="is not associated"):
        parse('{"ssh": [{"action": "accept", "users": ["localpart:*@*"]}]}')


def test_a_fault_can_be_sent_to_another_process() -> None:
    error = refusal("{▶1}")
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.position, again.code) == (error.message, error.position, "invalid_policy")
