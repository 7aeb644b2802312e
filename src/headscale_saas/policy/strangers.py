"""Words of a policy for users whom the tailnet does not have: often misspelt, though they may come later."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain

import msgspec

from headscale_saas.policy.atoms import tokens_of
from headscale_saas.policy.language import hujson
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.positions import Position
from headscale_saas.policy.language.selectors import Kind, Selector
from headscale_saas.policy.language.values import Value
from headscale_saas.tailnet.model import User


class Stranger(msgspec.Struct, frozen=True, gc=False):
    """A login or `name@` that is nobody's, and where it stands first."""

    word: str
    position: Position

    def __str__(self) -> str:
        return f"nobody here is {self.word[:200]} ({self.position})"


def strangers_of(text: str, document: Document, users: Iterable[User]) -> tuple[Stranger, ...]:
    """In the text's order, each once. `document` is what the text says; its tests do not count."""
    known = frozenset(chain.from_iterable(map(tokens_of, users)))
    unknown = {selector.name for selector in user_selectors(document)} - known
    if not unknown:
        return ()
    found: dict[str, Position] = {}
    for word, value in _named(hujson.parse(text), unknown):
        if word not in found:
            found[word] = value.position
    return tuple(Stranger(word, position) for word, position in found.items())


def user_selectors(value: object) -> Iterator[Selector]:
    """All selectors for users in a document or a part of it."""
    if isinstance(value, Selector):
        if value.kind is Kind.USER:
            yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from user_selectors(getattr(value, name))
    elif isinstance(value, Mapping):
        yield from user_selectors(tuple(value.values()))
    elif isinstance(value, tuple):
        for item in value:
            yield from user_selectors(item)


def _named(value: Value, words: Collection[str]) -> Iterator[tuple[str, Value]]:
    """The strings that are one of these words, or one with ports."""
    if isinstance(value.data, str):
        word = value.data.strip()
        for written in (word, word.rpartition(":")[0]):
            if written in words:
                yield written, value
    elif isinstance(value.data, dict | list):
        members = value.data.values() if isinstance(value.data, dict) else value.data
        for member in members:
            yield from _named(member, words)


__all__ = ["Stranger", "strangers_of", "user_selectors"]
