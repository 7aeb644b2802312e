"""The whole netmap, in pieces: most are chunks that all viewers of a class share.

    {rest"Peers":[ chunk … own chunk without the viewer … ],"UserProfiles":[ chunk … own profile ],"Node":… }

Compressed one by one and put together, the pieces are still one message: zstd frames concatenate.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from headscale_saas.netmap.members import (
    inside,
    message,
    own_members,
    own_profile,
)
from headscale_saas.netmap.peers import Book, Fragments
from headscale_saas.netmap.pieces import Piece, append_chunks, finished, joined
from headscale_saas.netmap.view import View
from headscale_saas.tailcfg.codec import encode

KEEP_ALIVE = b'{"KeepAlive": true}'
"""With a space: clients from 1.90 on mistake other messages for the exact form without it."""

LONG_AGO = timedelta(days=1)
"""More than a client's clock may be slow."""


def full_pieces(view: View, book: Book, now: datetime) -> list[Piece]:
    """The whole netmap of the viewer; joined, the pieces are one JSON object. Turns the book to the view."""
    book.turn_to(view.of_class)
    pieces: list[Piece] = [*book.rest]
    has_peers = append_chunks(pieces, book.peers, without=view.viewer.id)
    closing = b"" if has_peers else b'"Peers":['
    if book.profiles:
        if closing:
            pieces.append(closing)
        append_chunks(pieces, book.profiles, without=None)
        closing = b","
    else:
        closing += b'],"UserProfiles":['
    pieces.append(closing + own_profile(view) + b"]," + _tail(view, now) + b"}")
    return pieces


def _tail(view: View, now: datetime) -> bytes:
    """The members that are this viewer's own, without braces."""
    return inside(own_members(view) | {"Health": b"[]", "ControlTime": encode(now)})


def full_response(view: View, now: datetime) -> bytes:
    """The whole netmap as one JSON object, without any cache."""
    return joined(full_pieces(view, Book(Fragments()), now))


def pieces_without_peers(view: View, book: Book, now: datetime) -> list[Piece]:
    """For the one-time fetch that asks to omit peers."""
    finished(book.warming(view.of_class))
    return [*book.rest, b'"UserProfiles":[' + own_profile(view) + b"]," + _tail(view, now) + b"}"]


def farewell(view: View, now: datetime) -> bytes:
    """The last message to a node that was deleted: its key has expired, so that the client logs in again."""
    viewer = replace(view.viewer, expires_at=now - LONG_AGO, expired=True)
    return message({"Node": own_members(View(view.of_class, viewer))["Node"]})
