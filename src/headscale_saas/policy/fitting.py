"""For how many nodes there is room in the filters of a tailnet that grew after its policy was accepted.

Nodes are let in by order of id, so that those who were there before go on, and newcomers wait for room.
"""

from headscale_saas.policy.members import is_live
from headscale_saas.policy.program import Program
from headscale_saas.policy.steps import Parts, parts_of
from headscale_saas.tailnet.model import NodeId
from headscale_saas.tailnet.state import TailnetState

PRECISION_BITS = 6
"""A step more halves what is not known yet: one part in so many may be left out though it would fit."""


def is_flood(parts: Parts, state: TailnetState) -> bool:
    """Whether more would have to be told than may be."""
    live = dict.fromkeys(parts.classes[node.id] for node in state.nodes.values() if is_live(node))
    return parts.filtering.would_be_full(live)


def fitted(program: Program, parts: Parts, state: TailnetState) -> Parts:
    """The same where all is well; else with the oldest nodes only as sources, as many as there is room for.
    Takes seconds then."""
    if not is_flood(parts, state):
        return parts
    ids = sorted(state.nodes)
    fit, most = 0, len(ids)
    while most - fit > 1 + (len(ids) >> PRECISION_BITS):
        middle = (fit + most) // 2
        some = parts_of(program, state, ids[middle - 1])
        fit, most = (fit, middle) if is_flood(some, state) else (middle, most)
    return parts_of(program, state, ids[fit - 1] if fit else NodeId(0))
