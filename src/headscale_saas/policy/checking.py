"""Is this a policy that can be put in force in this tailnet? What doors ask before they store one."""

from collections.abc import Collection
from itertools import chain, islice

from headscale_saas.policy.connections import Connections
from headscale_saas.policy.language import parse
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.policy_tests import run_tests
from headscale_saas.policy.program import Program
from headscale_saas.policy.ssh_tests import run_ssh_tests
from headscale_saas.policy.tested import MOST_STEPS, Budget, Failure
from headscale_saas.tailnet.state import TailnetState

MOST_FAILURES_TOLD = 100


class FailedTests(PolicyError):
    """`failures` holds the first of them; the message tells each on a line of its own."""

    code = "policy_tests_failed"

    def __init__(self, failures: tuple[Failure, ...]) -> None:
        lines = "\n".join(str(failure) for failure in failures)
        super().__init__(f"test(s) failed:\n{lines}", position=failures[0].position)
        self.failures = failures


def check(text: str, state: TailnetState, domains: Collection[str] = ()) -> Program | None:
    """The policy, ready to be carried out; None for "", which is no policy.

    Raises PolicyError, an Invalid, if the text is no policy, and FailedTests, which is one too, if its tests
    do not hold for the nodes of the state; LimitReached if these look at too much. `domains` are those
    associated with the tailnet; none = not known.
    """
    if not text:
        return None
    program = Program(parse(text, domains=domains))
    failures = failures_of(program, state)
    if failures:
        raise FailedTests(failures)
    return program


def failures_of(program: Program, state: TailnetState, *, steps: int = MOST_STEPS) -> tuple[Failure, ...]:
    """What the policy's tests find, at most the first hundred. Raises LimitReached."""
    document = program.document
    if not document.tests and not document.ssh_tests:
        return ()
    connections, budget = Connections(program, state), Budget(steps)
    failures = chain(
        run_tests(connections, document, budget), run_ssh_tests(connections, document, program.ssh, budget)
    )
    return tuple(islice(failures, MOST_FAILURES_TOLD))


__all__ = ["FailedTests", "check", "failures_of"]
