"""Our policies give what the Tailscale control plane gave: verdicts, filters, peers, routes, SSH rules."""

from collections.abc import Iterable

import pytest

from golden import wrong_cases
from golden.areas import Comparison, Fault, refusal_faults
from golden.cases import Case, folder, load, names
from headscale_saas.errors import Invalid
from headscale_saas.policy import check

NAMES = names()
MOST_FAULTS_TOLD = 4

if not NAMES:
    pytest.skip(f"NO GOLDEN CASES in {folder()}: set GOLDEN_DIR to their folder", allow_module_level=True)


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, request: pytest.FixtureRequest) -> None:
    case = load(name)
    if case.name in wrong_cases.VERDICT:
        request.applymarker(pytest.mark.xfail(reason=wrong_cases.VERDICT[case.name], strict=False))
    faults = list(compared(case))
    told = "\n".join(str(fault) for fault in faults[:MOST_FAULTS_TOLD])
    assert not faults, f"{len(faults)} faults\n{case.policy}\n{told}"


def compared(case: Case) -> Iterable[Fault]:
    """The faults of the verdict and, if that is right, of what follows from it."""
    message = refusal_of(case)
    if (message is None) != case.expect["accepted"]:
        recorded = "accepted" if case.expect["accepted"] else case.expect["error"]
        return [Fault("verdict", recorded, message or "accepted")]
    return Comparison(case).faults() if message is None else refusal_faults(case, message)


def refusal_of(case: Case) -> str | None:
    try:
        check(case.policy, case.state, case.domains)
    except Invalid as refusal:
        return refusal.message
    return None
