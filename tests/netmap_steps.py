"""What holds for netmaps along a history, whatever made its steps: policies, rows, both."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol

from tests.tailnets import EPOCH

from headscale_saas.netmap.delta import delta
from headscale_saas.netmap.full import full_pieces, full_response
from headscale_saas.netmap.peers import Book, Fragments
from headscale_saas.netmap.pieces import joined
from headscale_saas.netmap.view import View, class_of
from headscale_saas.policy import Compiled
from headscale_saas.swarm.netmap import ClientNetmap
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import Node, NodeId
from headscale_saas.tailnet.state import TailnetState


class Step(Protocol):
    """One version of a tailnet."""

    @property
    def state(self) -> TailnetState: ...
    @property
    def compiled(self) -> Compiled: ...
    def view(self, node_id: int) -> View: ...


def believer(step: Step, node_id: int) -> ClientNetmap:
    """A client that was told the whole netmap."""
    client = ClientNetmap()
    client.apply_json(full_response(step.view(node_id), EPOCH))
    return client


def demand_differences_lead_to_the_whole(steps: Sequence[Step], at: Sequence[int]) -> None:
    """client.apply(delta(v, w)) == full(w), through JSON, for every viewer, over several deltas in a row.

    `at` are the steps at which a session is told anything; others it sleeps through.
    """
    for node_id in steps[at[0]].state.nodes:
        client = believer(steps[at[0]], node_id)
        for before, after in pairwise(at):
            if node_id not in steps[after].state.nodes or node_id not in steps[before].state.nodes:
                break
            for message in delta(steps[before].view(node_id), steps[after].view(node_id)):
                client.apply_json(message)
            assert client.told() == believer(steps[after], node_id).told()


def demand_touched_only_narrows(first: Step, last: Step, touched: Touched) -> None:
    for node_id in _in_both(first, last):
        before, after = first.view(node_id), last.view(node_id)
        assert delta(before, after, touched) == delta(before, after)


def demand_books_follow(steps: Sequence[Step]) -> None:
    """A book that follows a class tells what a fresh one tells."""
    fragments = Fragments()
    books: dict[object, Book] = {}
    for step in steps:
        for node in step.state.nodes.values():
            book = books.setdefault(class_of(step.compiled, node), Book(fragments))
            pieces = full_pieces(step.view(node.id), book, EPOCH)
            assert joined(pieces) == full_response(step.view(node.id), EPOCH)


def _in_both(first: Step, last: Step) -> list[NodeId]:
    nodes: Mapping[NodeId, Node] = first.state.nodes
    return sorted(nodes.keys() & last.state.nodes.keys())
