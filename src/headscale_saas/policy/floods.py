"""What a policy would make nodes be told, for the nodes there are: too much of it is refused beforehand."""

from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.members import is_live, members_of
from headscale_saas.policy.program import Program
from headscale_saas.policy.ssh.policies import MOST_PRINCIPALS, SshPolicies
from headscale_saas.policy.steps import parts_of
from headscale_saas.tailnet.state import TailnetState

MOST_FILTER_BYTES = 16 << 20
"""Of the packet filter of one node, as JSON: clients hold it in memory, and phones are clients."""
MOST_FILTERS_BYTES = 64 << 20
"""Of all filters, what several nodes are told counted once: the process holds them."""


def refuse_filter_flood(program: Program, state: TailnetState) -> None:
    """Raises PolicyError if a node would have to be told of too many sources of too many rules."""
    parts = parts_of(program, state)
    live = dict.fromkeys(parts.classes[node.id] for node in state.nodes.values() if is_live(node))
    if parts.filtering.are_larger(live, one=MOST_FILTER_BYTES, all_of_them=MOST_FILTERS_BYTES):
        text = (
            f"the packet filter of one node would take more than {MOST_FILTER_BYTES >> 20} MiB,"
            f" or those of all nodes more than {MOST_FILTERS_BYTES >> 20} MiB"
        )
        raise PolicyError(text, code="too_large")


def refuse_ssh_flood(program: Program, state: TailnetState) -> None:
    """Raises PolicyError if a node would have to be told of so many SSH logins that most were left out."""
    if len(program.ssh.rules) * 2 * len(state.nodes) <= MOST_PRINCIPALS:
        return
    members = members_of(program.atoms, state)
    policies = SshPolicies(program.ssh, members, state.users)
    points = (program.ssh.standpoint(node, members.masks[node.id]) for node in state.nodes.values())
    kinds = {(point.everyone, point.own): point for point in points}
    largest = max(map(policies.size, kinds.values()), default=0)
    if largest > MOST_PRINCIPALS:
        text = f"the SSH rules let in from {largest} addresses at one node, more than {MOST_PRINCIPALS}"
        raise PolicyError(text, code="too_large")
