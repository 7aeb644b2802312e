"""What is explained of recorded policies is what clients make of the filters they are sent."""

from itertools import product

import pytest

from golden.cases import folder, load, names
from golden.client import ClientFilter, Source
from golden.forms import as_json
from headscale_saas.policy import compile_policy, explain
from headscale_saas.policy.language import parse
from headscale_saas.policy.program import Program

EVERY = 8
"""One of so many cases: most are much like their neighbours, and each is asked a thousand questions."""
ASKED = ((6, 22), (6, 443), (17, 53))
NAMES = [name for name in names()[::EVERY] if load(name).expect["accepted"]]

if not NAMES:
    pytest.skip(f"NO GOLDEN CASES in {folder()}: set GOLDEN_DIR to their folder", allow_module_level=True)


@pytest.mark.parametrize("name", NAMES)
def test_an_explanation_says_what_the_node_lets_in(name: str) -> None:
    case = load(name)
    program, compiled = Program(parse(case.policy)), compile_policy(case.policy, case.state)
    for target in case.nodes.values():
        chunks = compiled.filters(compiled.audience(target))
        sent = ClientFilter(as_json(rule for chunk in sorted(chunks) for rule in chunks[chunk]))
        for source, (protocol, port) in product(case.nodes.values(), ASKED):
            if source is not target:
                spans = sent.lets_in(Source(str(source.ipv4)), str(target.ipv4))
                is_open = any(one == protocol and low <= port <= high for one, low, high in spans)
                ends = str(source.ipv4), str(target.ipv4)
                (verdict,) = explain(program, case.state, *ends, port, str(protocol))
                assert verdict.is_allowed == is_open, verdict
