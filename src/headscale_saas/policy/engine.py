"""From a policy text to what it means for one state, at once or step by step."""

from collections import OrderedDict
from collections.abc import Collection
from threading import Lock

from headscale_saas.errors import Invalid, Unavailable
from headscale_saas.policy.allow_all import AllowAll, allow_all
from headscale_saas.policy.compiled import Compiled
from headscale_saas.policy.language import parse
from headscale_saas.policy.program import Program
from headscale_saas.policy.resolution import Resolution, resolve, resolve_whole
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.state import TailnetState

MOST_TEXT = 4 << 20
MOST_PROGRAMS = 256
"""Of programs that are kept though no tailnet may use them any more (many tailnets have the same policy). The
characters are those of all their texts: a program takes up to a hundred times as much."""

_programs: OrderedDict[str, Program] = OrderedDict()
_lock = Lock()


def compile_policy(text: str | None, state: TailnetState) -> Compiled:
    """Compiles a stored policy. None or "" = there is none, and everyone may reach everyone.

    Raises Unavailable for a policy that cannot be carried out: it must never open the tailnet instead.
    """
    return resolve(program_of(text), state) if text else allow_all(state)


def compile_whole(text: str | None, state: TailnetState) -> Compiled:
    """The same, with all that is otherwise made when it is first asked for, and only as much as may be told:
    in a thread beside the loop time does not matter."""
    return resolve_whole(program_of(text), state) if text else allow_all(state)


def program_of(text: str) -> Program:
    """The part of compiling that asks for no state; may be called beforehand, in any thread. Raises as
    `compile_policy` does."""
    with _lock:
        program = _programs.get(text)
    if program is None:
        try:
            program = Program(parse(text))
        except Invalid as fault:
            message = f"the policy is not understood: {fault}"
            raise Unavailable(message, code="policy_not_understood") from fault
    _keep(text, program)
    return program


def _keep(text: str, program: Program) -> None:
    with _lock:
        _programs[text] = program
        _programs.move_to_end(text)
        while len(_programs) > 1 and _are_many(_programs):
            _programs.popitem(last=False)


def _are_many(texts: Collection[str]) -> bool:
    return len(texts) > MOST_PROGRAMS or sum(map(len, texts)) > MOST_TEXT


def advance(compiled: Compiled, before: TailnetState, after: TailnetState, touched: Touched) -> Compiled:
    """What `compile_policy` would yield for `after`, from what it yielded for `before`. Raises as it does.

    `touched` must name at least all rows in which the two states differ.
    """
    if before.policy_text == after.policy_text and isinstance(compiled, AllowAll | Resolution):
        return compiled.advanced(before, after, touched)
    return compile_policy(after.policy_text, after)
