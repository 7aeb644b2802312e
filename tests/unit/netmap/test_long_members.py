"""A packet filter of megabytes is told without holding up others: in short steps, and compressed once."""

import json

import pytest

from headscale_saas.live.cache import Snapshot
from headscale_saas.live.frames import Frames, pack_delta
from headscale_saas.netmap.delta import SharedDelta, shared_delta, shared_delta_in_steps
from headscale_saas.netmap.full import full_pieces
from headscale_saas.netmap.members import class_members, class_members_in_steps, inside
from headscale_saas.netmap.pieces import LONG, Piece, Shared, joined
from headscale_saas.netmap.view import Environment, View, placeholder_derp_map, view_of
from headscale_saas.policy import compile_policy
from headscale_saas.tailcfg.codec import encode
from headscale_saas.tailnet.changes import Touched
from headscale_saas.tailnet.model import NodeId, UserId
from headscale_saas.tailnet.state import TailnetState
from headscale_saas.wire.mapframe import HEADER_BYTES, decompress
from tailnets import EPOCH, make_node, make_state, make_user

ENVIRONMENT = Environment(placeholder_derp_map(), "control.example")
PEOPLE, RULES = 150, 250
MOST = 16 << 20


def policy() -> str:
    """Each rule has sources of its own, so that nothing can be joined."""
    acls = [
        {"action": "accept", "src": ["autogroup:member", f"192.0.2.{n}"], "dst": [f"*:{1 + n}"]}
        for n in range(RULES)
    ]
    users = [f"login{n}" for n in range(RULES)]
    ssh = [
        {"action": "accept", "src": [f"user{1 + n % PEOPLE}@example.com"], "dst": ["tag:x"], "users": [login]}
        for n, login in enumerate(users)
    ]
    return json.dumps({"tagOwners": {"tag:x": []}, "acls": acls, "ssh": ssh})


@pytest.fixture(scope="module")
def states() -> tuple[TailnetState, TailnetState]:
    """Without a policy, and with this one."""
    server = make_node(PEOPLE + 1, tags=("tag:x",), user_id=None)
    nodes = [make_node(number, user_id=UserId(number)) for number in range(1, PEOPLE + 1)]
    owners = tuple(make_user(number, email=f"user{number}@example.com") for number in range(1, PEOPLE + 1))
    before = make_state(*nodes, server, users=owners)
    return before, before.replace(before.tailnet, {}, {}, policy())


def look(state: TailnetState, number: int = PEOPLE + 1) -> View:
    compiled = compile_policy(state.policy_text, state)
    return view_of(state, compiled, state.nodes[NodeId(number)], ENVIRONMENT)


def snapshot(state: TailnetState) -> Snapshot:
    return Snapshot(state, compile_policy(state.policy_text, state), ENVIRONMENT)


def long_pieces(delta: SharedDelta) -> list[Piece]:
    return [piece for message in delta for piece in message.pieces(without=NodeId(1))]


def test_they_are_made_in_steps(states: tuple[TailnetState, TailnetState]) -> None:
    view = look(states[1])
    size = len(inside(class_members(view.of_class)))
    assert LONG * 3 < size < MOST
    assert size // (2 * LONG) <= len(list(class_members_in_steps(view.of_class))) <= size // LONG
    changes = shared_delta_in_steps(look(states[0]).of_class, view.of_class)
    assert len(list(changes)) > size // (2 * LONG)


def test_they_say_what_they_would_in_one(states: tuple[TailnetState, TailnetState]) -> None:
    of_class = look(states[1]).of_class
    members = class_members(of_class)
    filters, ssh = (
        of_class.compiled.filters(of_class.audience),
        of_class.compiled.ssh_policy(of_class.audience),
    )
    assert ssh.rules
    assert members["PacketFilters"] == encode({"*": None, **filters})
    assert members["SSHPolicy"] == encode(ssh)


def test_no_piece_of_a_message_takes_long_to_compress(states: tuple[TailnetState, TailnetState]) -> None:
    delta = shared_delta(look(states[0]).of_class, look(states[1]).of_class)
    for piece in long_pieces(delta):
        assert len(piece if isinstance(piece, bytes) else piece.text) <= LONG
    (message,) = delta
    told = json.loads(message.text(without=NodeId(1)))
    assert {"PacketFilters", "SSHPolicy"} <= told.keys()


@pytest.mark.parametrize("is_new", [True, False])
def test_when_they_are_written_all_is_compressed(
    states: tuple[TailnetState, TailnetState], *, is_new: bool
) -> None:
    """Whether they are told to a node that comes, or of a new policy."""
    before, after = map(snapshot, states)
    frames = Frames(before)
    node = after.state.nodes[NodeId(1)]
    old = frames.view(node)
    frames.advance(after, Touched(policy=True))
    steps = frames.warming(node) if is_new else frames.telling(old.of_class, node)
    size = len(inside(class_members(look(states[1], 1).of_class)))
    assert len(list(steps)) > size // LONG
    view = frames.view(node)
    if is_new:
        pieces = full_pieces(view, frames.book(view), EPOCH)
    else:
        shared = frames.shared(old.of_class, view.of_class)
        pieces = long_pieces(shared)
        packed = pack_delta(shared, NodeId(1), compressed=True)
        assert decompress(packed[HEADER_BYTES:], MOST) == joined(pieces)
    waiting = [piece for piece in pieces if isinstance(piece, Shared) and not piece.chunk.packed]
    assert sum(len(piece.text) for piece in waiting) < LONG, "but for the peers' chunks"
