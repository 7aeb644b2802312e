"""`tests` and `sshTests`: kept as written, for whatever else is wrong with a test is a failed test."""

from headscale_saas.policy.language.document import PolicyTest, SshTest
from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.recognition import read_network, recognise
from headscale_saas.policy.language.selectors import INTERNET, Kind
from headscale_saas.policy.language.shapes import (
    fields,
    items,
    members,
    optional_string,
    spellings,
    string,
    strings,
)
from headscale_saas.policy.language.values import Value
from headscale_saas.tailcfg.codec import Json

_TEST = spellings("src", "accept", "deny", "proto", "srcPostureAttrs", user="src", allow="accept")
_SSH_TEST = spellings("src", "dst", "accept", "check", "deny", "srcPostureAttrs")


def read_tests(value: Value | None) -> tuple[PolicyTest, ...]:
    return tuple(_test(item) for item in items(value))


def _test(value: Value) -> PolicyTest:
    test = fields(value, _TEST)
    return PolicyTest(
        position=value.position,
        source=optional_string(test.get("src")),
        accept=strings(test.get("accept")),
        deny=strings(test.get("deny")),
        protocol=optional_string(test.get("proto")),
        posture_attributes=_attributes(test.get("srcPostureAttrs")),
    )


def read_ssh_tests(value: Value | None, names: Names) -> tuple[SshTest, ...]:
    return tuple(_ssh_test(item, names) for item in items(value))


def _ssh_test(value: Value, names: Names) -> SshTest:
    test = fields(value, _SSH_TEST)
    return SshTest(
        position=value.position,
        source=optional_string(test.get("src")),
        destinations=tuple(_ssh_destination(item, names) for item in items(test.get("dst"))),
        accept=strings(test.get("accept")),
        check=strings(test.get("check")),
        deny=strings(test.get("deny")),
        posture_attributes=_attributes(test.get("srcPostureAttrs")),
    )


def _ssh_destination(value: Value, names: Names) -> str:
    word = string(value)
    selector = recognise(word.strip())
    if selector and selector.kind is Kind.TAG and selector.name not in names.tags:
        raise value.refused(f"SSH tests dst contains unknown tag {quoted(word)}")
    network = read_network(word.strip())
    if selector == INTERNET or (network and network.num_addresses > 1):
        raise value.refused(f"SSH tests dst contains disallowed element {quoted(word)}")
    return word


def _attributes(value: Value | None) -> dict[str, Json]:
    return {name: member.plain() for name, member in members(value)}
