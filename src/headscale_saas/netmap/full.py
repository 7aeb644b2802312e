"""The whole netmap, in pieces: most are chunks that all viewers of a class share.

    {"Peers":[ chunk … own chunk without the viewer … ],"UserProfiles":[ chunk … own profile ],"Node":… }

Compressed one by one and put together, the pieces are still one message: zstd frames concatenate.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from headscale_saas.netmap.members import (
    all_filters,
    common_members,
    inside,
    message,
    own_members,
    own_profile,
)
from headscale_saas.netmap.peers import Book, Fragments
from headscale_saas.netmap.pieces import Piece, append_chunks, joined
from headscale_saas.netmap.view import View
from headscale_saas.tailcfg.codec import encode

KEEP_ALIVE = b'{"KeepAlive": true}'
"""With a space: clients from 1.90 on mistake other messages for the exact form without it."""

LONG_AGO = timedelta(days=1)
"""More than a client's clock may be slow."""


def full_pieces(view: View, book: Book, now: datetime) -> list[Piece]:
    """The whole netmap of the viewer; joined, the pieces are one JSON object. Turns the book to the view."""
    book.turn_to(view.of_class)
    pieces: list[Piece] = []
    has_peers = append_chunks(pieces, book.peers, without=view.viewer.id)
    closing = b"" if has_peers else b'{"Peers":['
    if book.profiles:
        if closing:
            pieces.append(closing)
        append_chunks(pieces, book.profiles, without=None)
        closing = b","
    else:
        closing += b'],"UserProfiles":['
    pieces.append(closing + own_profile(view) + b"]," + head(view, now) + b"}")
    return pieces


def head(view: View, now: datetime) -> bytes:
    """The members besides Peers and UserProfiles, without braces."""
    members = common_members(view.of_class) | own_members(view)
    members["PacketFilters"] = all_filters(view.of_class.compiled.filters(view.viewer))
    members["Health"] = b"[]"
    members["ControlTime"] = encode(now)
    return inside(members)


def full_response(view: View, now: datetime) -> bytes:
    """The whole netmap as one JSON object, without any cache."""
    return joined(full_pieces(view, Book(Fragments()), now))


def response_without_peers(view: View, now: datetime) -> bytes:
    """For the one-time fetch that asks to omit peers."""
    return b'{"UserProfiles":[' + own_profile(view) + b"]," + head(view, now) + b"}"


def farewell(view: View, now: datetime) -> bytes:
    """The last message to a node that was deleted: its key has expired, so that the client logs in again."""
    viewer = replace(view.viewer, expires_at=now - LONG_AGO, expired=True)
    return message({"Node": own_members(View(view.of_class, viewer))["Node"]})
