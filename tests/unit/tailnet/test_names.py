"""A node's DNS label: safe whatever the device is called, and unique."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.errors import Invalid
from headscale_saas.tailnet import names


@pytest.mark.parametrize(
    ("hostname", "label"),
    [
        ("alpha", "alpha"),
        ("Bobs-Mac.local", "bobs-mac"),
        ("Bob's Mac", "bobs-mac"),
        ("Alpha Box", "alpha-box"),
        ("web_1.prod", "web-1-prod"),
        ("", "node"),
        ("***", "node"),
        ("🦄", "node"),
        ("evil\u202etxt", "eviltxt"),
        ("a\x00b\nc\x1b[31m", "abc31m"),
        ("zero\u200bwidth", "zerowidth"),
        ("_acme-challenge", "acme-challenge"),
        ("xn--mnchen-3ya", "xn-mnchen-3ya"),
        ("trailing.", "trailing"),
        ("-edge-", "edge"),
        ("x" * 10_240, "x" * 63),
        ("a" * 62 + " b", "a" * 62),
    ],
)
def test_hostnames_become_labels(hostname: str, label: str):
    assert names.sanitised(hostname) == label


@given(st.text())
def test_every_label_is_a_dns_label(hostname: str):
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", names.sanitised(hostname))


def found(label: str, taken: set[str]) -> tuple[str, int]:
    search, rounds = names.search(label), 0
    while search.found is None:
        asked = names.probes(search)
        search = names.narrowed(search, asked, taken & set(asked))
        rounds += 1
    return search.found, rounds


def test_the_first_of_a_name_has_no_suffix():
    assert found("web", set()) == ("web", 1)


def test_a_taken_name_gets_the_next_suffix():
    assert found("web", {"web"})[0] == "web-1"
    assert found("web", {"web", "web-1", "web-2"})[0] == "web-3"
    assert found("web", {"web", "web-2"})[0] == "web-1"


def test_reserved_names_always_get_a_suffix():
    assert found("localhost", set())[0] == "localhost-1"
    assert found("acme-challenge", {"acme-challenge-1"})[0] == "acme-challenge-2"


@pytest.mark.parametrize("count", [10, 100, 9_999])
def test_among_many_of_one_name_few_questions_find_a_free_one(count: int):
    taken = {names.suffixed("node", number) for number in range(count)}
    name, rounds = found("node", taken)
    assert name == f"node-{count}"
    assert rounds <= 6


@given(st.sets(st.integers(0, 300)))
def test_what_is_found_is_free(numbers: set[int]):
    taken = {names.suffixed("x" * 63, number) for number in numbers}
    name, _ = found("x" * 63, taken)
    assert name not in taken
    assert len(name) <= 63


@pytest.mark.parametrize("name", ["", "Upper", "a b", "-a", "a-", "x" * 64, "localhost", "xn--a", "a.b"])
def test_what_an_admin_may_not_call_a_node(name: str):
    with pytest.raises(Invalid):
        names.checked(name)


def test_a_name_that_is_too_long_is_called_so():
    with pytest.raises(Invalid, match="too long"):
        names.checked("x" * 64)
