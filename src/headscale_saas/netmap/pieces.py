"""JSON in pieces, so that what many messages contain can be compressed once.

Pieces compressed one by one and put together are still one message: zstd frames concatenate.
"""

from collections.abc import Generator, Iterable
from typing import NamedTuple, TypeVar

T = TypeVar("T")

LONG = 128 << 10
"""Bytes that take half a millisecond to compress."""


class Chunk:
    """Some items of a JSON array, by the id of what they tell.

    `opening` stands before the first chunk of the array, a comma before others.
    `packed` is room for the caller: compressed forms by `is_first`.
    """

    __slots__ = ("items", "opening", "packed")

    def __init__(self, opening: bytes, items: dict[int, bytes]) -> None:
        self.opening = opening
        self.items = items
        self.packed: dict[bool, bytes] = {}

    def text(self, is_first: bool, without: int | None = None) -> bytes:
        items = self.items
        if without in items:
            items = {number: item for number, item in items.items() if number != without}
        if not items:
            return b""
        return (self.opening if is_first else b",") + b",".join(items.values())


class Shared(NamedTuple):
    """A piece that is equal for many viewers: a chunk, as the first of its array or not."""

    chunk: Chunk
    is_first: bool

    @property
    def text(self) -> bytes:
        return self.chunk.text(self.is_first)


Piece = Shared | bytes
"""Bytes are for one viewer only."""


def cut(text: bytes) -> list[Shared]:
    """A text that is equal for many viewers, in pieces none of which takes long to compress."""
    parts = (text[start : start + LONG] for start in range(0, len(text), LONG))
    return [Shared(Chunk(b"", {0: part}), is_first=True) for part in parts]


def finished(steps: Generator[None, None, T]) -> T:
    """What work in steps comes to, all of it at once."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


def joined(pieces: Iterable[Piece]) -> bytes:
    """The message that the pieces make."""
    return b"".join(piece if isinstance(piece, bytes) else piece.text for piece in pieces)


def append_chunks(pieces: list[Piece], chunks: Iterable[Chunk], without: int | None) -> bool:
    """Adds an array's chunks; only the one with the viewer in it is private. True if there are items."""
    is_first = True
    for chunk in chunks:
        piece: Piece = Shared(chunk, is_first)
        if without in chunk.items:
            piece = chunk.text(is_first, without)
        if piece:
            pieces.append(piece)
            is_first = False
    return not is_first
