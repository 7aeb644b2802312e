"""What a policy would make nodes be told, for the nodes there are: too much of it is refused beforehand."""

from headscale_saas.policy.filtering import MOST_FILTER_BYTES, MOST_FILTERS_BYTES
from headscale_saas.policy.fitting import is_flood
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.members import members_of
from headscale_saas.policy.program import Program
from headscale_saas.policy.ssh.policies import MOST_PRINCIPALS, SshPolicies
from headscale_saas.policy.steps import parts_of
from headscale_saas.tailnet.state import TailnetState


def refuse_filter_flood(program: Program, state: TailnetState) -> None:
    """Raises PolicyError if a node would have to be told of too many sources of too many rules."""
    if is_flood(parts_of(program, state), state):
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
