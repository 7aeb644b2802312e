"""Policies against a tailnet: read one, check it, try it out. Nothing here writes."""

from typing import NamedTuple

import msgspec

from headscale_saas.actions.apart import CHECKS, apart
from headscale_saas.actions.approvals import Approvals
from headscale_saas.policy import Approvers, check, explain
from headscale_saas.policy.answers.verdicts import Verdict
from headscale_saas.policy.checking import failures_of
from headscale_saas.policy.language import parse
from headscale_saas.policy.program import Program
from headscale_saas.policy.strangers import Stranger, strangers_of
from headscale_saas.policy.testing.tested import Failure
from headscale_saas.store import policies
from headscale_saas.store.database import Database
from headscale_saas.store.policies import Rows
from headscale_saas.tailnet.model import TailnetId
from headscale_saas.tailnet.state import TailnetState


class Question(NamedTuple):
    """May `source` connect to `destination`? An end is a node, address, host, login, group or tag."""

    source: str
    destination: str
    port: int
    protocol: str = "tcp"


class Tested(msgspec.Struct, frozen=True):
    """How many tests a policy has, and the first hundred failures that they find.

    `strangers` are the users whom the policy names and the tailnet does not have.
    """

    count: int
    failures: tuple[Failure, ...]
    strangers: tuple[Stranger, ...] = ()


class Checked(NamedTuple):
    """What a policy decides about writes (None for "", which is no policy), and whom it names for nobody."""

    approvals: Approvals | None
    strangers: tuple[Stranger, ...]


async def check_policy(db: Database, tailnet: TailnetId, text: str) -> tuple[Stranger, ...]:
    """Whom it names that nobody here is. Raises as `policies.set_policy` would, were the policy set now."""
    return (await apart(CHECKS, checked, await _rows(db, tailnet), text, with_tests=True)).strangers


async def run_tests(db: Database, tailnet: TailnetId, text: str | None = None) -> Tested:
    """Runs the tests of a policy (None: of the one in force) on the nodes of now. Raises Invalid."""
    return await apart(CHECKS, _tested, await _rows(db, tailnet), text)


async def explained(
    db: Database, tailnet: TailnetId, question: Question, text: str | None = None
) -> tuple[Verdict, ...]:
    """What a policy (None: the one in force) says, and why: one verdict for each pair of nodes.

    Raises Invalid (also for an unknown protocol), NotFound (an end is nobody), LimitReached (too many pairs).
    """
    return await apart(CHECKS, _explained, await _rows(db, tailnet), question, text)


def checked(rows: Rows, text: str, *, with_tests: bool) -> Checked:
    """Raises Invalid."""
    state = rows.state()
    program = check(text, state, state.tailnet.settings.domains, with_tests=with_tests)
    if program is None:
        return Checked(None, ())
    return Checked(Approvers(program.document), strangers_of(text, program.document, state.users.values()))


def _explained(rows: Rows, question: Question, text: str | None) -> tuple[Verdict, ...]:
    state = rows.state()
    return explain(_program(text, state), state, *question)


def _tested(rows: Rows, text: str | None) -> Tested:
    state = rows.state()
    text = state.policy_text if text is None else text
    program = _program(text, state)
    if program is None:
        return Tested(0, ())
    document = program.document
    strangers = strangers_of(text or "", document, state.users.values())
    return Tested(len(document.tests) + len(document.ssh_tests), failures_of(program, state), strangers)


def _program(text: str | None, state: TailnetState) -> Program | None:
    """Of the text, or of the policy in force."""
    text = state.policy_text if text is None else text
    return Program(parse(text, domains=state.tailnet.settings.domains)) if text else None


async def _rows(db: Database, tailnet: TailnetId) -> Rows:
    async with db.read(tailnet) as tx:
        return await policies.rows(tx)
