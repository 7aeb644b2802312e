"""Is this a policy that can be put in force in this tailnet? What doors ask before they store one."""

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import chain, islice

from headscale_saas.errors import Invalid
from headscale_saas.policy.answers.connections import Connections
from headscale_saas.policy.atoms import tokens_of
from headscale_saas.policy.floods import refuse_floods
from headscale_saas.policy.language import parse
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.program import Program
from headscale_saas.policy.strangers import user_selectors
from headscale_saas.policy.testing.policy_tests import run_tests
from headscale_saas.policy.testing.ssh_tests import run_ssh_tests
from headscale_saas.policy.testing.tested import MOST_STEPS, Budget, Failure
from headscale_saas.tailnet.model import User
from headscale_saas.tailnet.state import TailnetState

MOST_FAILURES_TOLD = 100


class FailedTests(PolicyError):
    """`failures` holds the first of them; the message tells each on a line of its own, in headscale's words.

    `str()` has the position of each before it; `position` is that of the first.
    """

    code = "policy_tests_failed"

    def __init__(self, failures: tuple[Failure, ...]) -> None:
        lines = "\n".join(str(failure) for failure in failures)
        super().__init__(f"test(s) failed:\n{lines}", position=failures[0].position)
        self.failures = failures

    def __str__(self) -> str:
        lines = "\n".join(f"{failure.position}: {failure}" for failure in self.failures)
        return f"test(s) failed:\n{lines}"


def check(
    text: str, state: TailnetState, domains: Collection[str] = (), *, with_tests: bool = True
) -> Program | None:
    """The policy, ready to be carried out; None for "", which is no policy.

    Raises PolicyError, an Invalid, if the text is no policy, and FailedTests, which is one too, if its tests
    do not hold for the nodes of the state; LimitReached if these look at too much. `domains` are those
    associated with the tailnet; none = not known. `with_tests` False: its tests may fail.
    """
    if not text:
        return None
    program = Program(parse(text, domains=domains))
    refuse_ambiguous(program.document, state.users.values())
    refuse_floods(program, state)
    if with_tests and (failures := failures_of(program, state)):
        raise FailedTests(failures)
    return program


def objection(text: str) -> Invalid | None:
    """Why a stored policy cannot be carried out at all, as `compile_policy` would say; None: it can."""
    try:
        Program(parse(text))
    except Invalid as problem:
        return problem
    return None


def refuse_ambiguous(document: Document, users: Iterable[User]) -> None:
    """Raises PolicyError if a word of the document means several users: they would get it by accident."""
    counts = Counter(token for user in users for token in tokens_of(user))
    ambiguous = {token for token, count in counts.items() if count > 1}
    if ambiguous:
        found = sorted(named.name for named in user_selectors(document) if named.name in ambiguous)
        if found:
            raise PolicyError(f"multiple users found: {quoted(found[0])} means {counts[found[0]]} of them")


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


__all__ = ["FailedTests", "check", "failures_of", "objection"]
