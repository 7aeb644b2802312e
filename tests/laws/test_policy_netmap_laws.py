"""Differences of netmaps under random policies: what a client ends up with, and what it has on the way."""

from itertools import pairwise
from typing import NamedTuple

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from tests.netmap_steps import (
    believer,
    demand_books_follow,
    demand_differences_lead_to_the_whole,
    demand_touched_only_narrows,
)
from tests.policy_oracle.client import rules_of
from tests.policy_oracle.rules import Rule
from tests.policy_oracle.states import world_of
from tests.policy_probes import as_json, described, pairs_of, probes, verdicts
from tests.policy_strategies import CHANGES, changed, states

from headscale_saas.netmap.delta import delta, own_delta, shared_delta
from headscale_saas.netmap.peers import Fragments
from headscale_saas.netmap.telling import Telling
from headscale_saas.netmap.view import Environment, View, class_of, placeholder_derp_map, view_of
from headscale_saas.policy import Compiled, advance, compile_policy
from headscale_saas.swarm.netmap import ClientNetmap
from headscale_saas.tailnet.changes import Touched, union
from headscale_saas.tailnet.model import NodeId
from headscale_saas.tailnet.state import TailnetState

LAWS = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
ENVIRONMENT = Environment(placeholder_derp_map(), "control.example")


class Step(NamedTuple):
    """One version, and what it touched."""

    state: TailnetState
    compiled: Compiled
    touched: Touched

    def view(self, node_id: int) -> View:
        return view_of(self.state, self.compiled, self.state.nodes[NodeId(node_id)], ENVIRONMENT)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    state = draw(states())
    note(described(state))
    steps = [Step(state, compile_policy(state.policy_text, state), Touched())]
    for change in draw(st.lists(CHANGES, min_size=1, max_size=6)):
        note(f"then {change}")
        before = steps[-1]
        state, touched = changed(before.state, change)
        steps.append(Step(state, advance(before.compiled, before.state, state, touched), touched))
    return steps


@LAWS
@given(histories(), st.data())
def test_differences_lead_where_a_whole_netmap_leads(steps: list[Step], data: st.DataObject) -> None:
    at = sorted(data.draw(st.sets(st.integers(0, len(steps) - 1), min_size=1), label="stops"))
    demand_differences_lead_to_the_whole(steps, at)


@LAWS
@given(histories())
def test_what_was_touched_narrows_the_work_and_not_the_content(steps: list[Step]) -> None:
    demand_touched_only_narrows(steps[0], steps[-1], union([step.touched for step in steps]))


@LAWS
@given(histories())
def test_a_session_may_be_told_from_a_policy_that_was_compiled_elsewhere(steps: list[Step]) -> None:
    """A view is a function of the state: whole netmaps do not tell how the process came to it."""
    for step in steps:
        fresh = Step(step.state, compile_policy(step.state.policy_text, step.state), step.touched)
        for node_id in step.state.nodes:
            assert believer(step, node_id).told() == believer(fresh, node_id).told()


@LAWS
@given(histories())
def test_a_book_that_follows_a_class_tells_what_a_fresh_one_tells(steps: list[Step]) -> None:
    demand_books_follow(steps)


@LAWS
@given(histories())
def test_one_shared_delta_serves_the_whole_class(steps: list[Step]) -> None:
    """Of a class that stays one: made from one viewer's view, it is right for the others. What is known of
    one way to the newest state, and of one class, is right for the others."""
    last, telling = steps[-1], Telling(Fragments())
    for first in steps:
        made: dict[object, tuple[View, View]] = {}
        for node_id in sorted(first.state.nodes.keys() & last.state.nodes.keys()):
            before, after = first.view(node_id), last.view(node_id)
            kinds = class_of(first.compiled, before.viewer), class_of(last.compiled, after.viewer)
            model = made.setdefault(kinds, (before, after))
            shared = shared_delta(model[0].of_class, model[1].of_class, None, telling)
            texts = [part.text(node_id if node_id in part.mentions else None) for part in shared]
            assert tuple(text for text in [own_delta(before, after), *texts] if text) == delta(before, after)


@LAWS
@given(histories())
def test_on_the_way_nobody_lets_in_what_neither_policy_allows(steps: list[Step]) -> None:
    for before, after in pairwise(steps):
        worlds = world_of(before.state), world_of(after.state)
        for node_id in before.state.nodes.keys() & after.state.nodes.keys():
            client, wanted = believer(before, node_id), believer(after, node_id)
            pairs = {pair for world in worlds for pair in probes(world, world.device(node_id))}
            allowed = [verdicts(_rules(one), pairs) for one in (client, wanted)]
            for message in delta(before.view(node_id), after.view(node_id)):
                client.apply_json(message)
                for pair, opened in verdicts(_rules(client), pairs).items():
                    assert opened <= allowed[0].get(pair, set()) | allowed[1].get(pair, set())


@LAWS
@given(histories())
def test_nobody_may_send_to_whom_he_is_not_told_of(steps: list[Step]) -> None:
    """Whoever may reach a node sees it, and it him: else the tunnel would not come up."""
    for step in steps:
        world = world_of(step.state)
        netmaps = {node_id: believer(step, node_id) for node_id in step.state.nodes}
        for source, node in pairs_of(step.state):
            pairs = [
                (s, d) for s in world.device(source.id).addresses for d in world.device(node.id).addresses
            ]
            if verdicts(_rules(netmaps[node.id]), [(s, d) for s, d in pairs if (":" in s) == (":" in d)]):
                assert node.id in netmaps[source.id].peers
                assert source.id in netmaps[node.id].peers


def _rules(client: ClientNetmap) -> list[Rule]:
    return rules_of(as_json(client.packet_filter))
