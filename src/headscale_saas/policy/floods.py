"""What a policy would make nodes be told, for the nodes there are: too much of it is refused beforehand."""

from headscale_saas.policy.filtering import MOST_FILTER_BYTES, MOST_FILTERS_BYTES
from headscale_saas.policy.fitting import is_flood
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.program import Program
from headscale_saas.policy.ssh.policies import MOST_PRINCIPALS, MOST_RULES
from headscale_saas.policy.ssh.rules import Standpoint
from headscale_saas.policy.steps import Parts, parts_of
from headscale_saas.tailnet.model import UserId
from headscale_saas.tailnet.state import TailnetState


def refuse_floods(program: Program, state: TailnetState) -> None:
    """Raises PolicyError if nodes would have to be told too much."""
    parts = parts_of(program, state)
    _refuse_filter_flood(parts, state)
    if len(program.ssh.rules) * 2 * len(state.nodes) > MOST_PRINCIPALS:
        _refuse_ssh_flood(parts)


def _refuse_filter_flood(parts: Parts, state: TailnetState) -> None:
    """Of too many sources of too many rules."""
    if is_flood(parts, state):
        text = (
            f"the packet filter of one node would take more than {MOST_FILTER_BYTES >> 20} MiB,"
            f" or those of all nodes more than {MOST_FILTERS_BYTES >> 20} MiB"
        )
        raise PolicyError(text, code="too_large")


def _refuse_ssh_flood(parts: Parts) -> None:
    """Of so many SSH logins that most were left out."""
    users: dict[Standpoint, set[UserId | None]] = {}
    for of in parts.classes.values():
        point = of.standing.ssh
        users.setdefault(point._replace(user=None), set()).add(point.user)
    largest = max(map(parts.ssh.size, users), default=0)
    if largest > MOST_PRINCIPALS:
        text = f"the SSH rules let in from {largest} addresses at one node, more than {MOST_PRINCIPALS}"
        raise PolicyError(text, code="too_large")
    own = sum(parts.ssh.own_rules(point, len(of)) for point, of in users.items())
    if own > MOST_RULES:
        text = f"users are told {own} SSH rules about their own devices, more than {MOST_RULES}"
        raise PolicyError(text, code="too_large")
