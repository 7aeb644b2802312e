"""The DNS label of a node: what a device calls itself, made safe and unique.

A label is `[a-z0-9-]`, at most 63 characters, neither beginning nor ending with a hyphen. Two devices of one
name are told apart by -1, -2 … Looking for a free suffix must not read all names of a tailnet with 10,000
devices called "localhost", so it asks for a few at a time: `probes` says which (the first few, then ever
wider apart, then evenly in between), and `narrowed` learns.
"""

import re
from collections.abc import Collection

import msgspec

from headscale_saas.errors import Invalid

MAX_LABEL = 63
DEFAULT_LABEL = "node"
RESERVED = frozenset(
    {"localhost", "localdomain", "local", "broadcasthost", "wpad", "isatap", "acme-challenge", "invalid"}
)
"""Labels that resolvers and browsers treat as something else; a device of that name gets a suffix."""

MAX_SUFFIX = 1 << 25
"""More than the addresses of the largest tailnet."""

AT_ONCE = 32
"""How many names are asked for at once, where it is known about where a free one is."""

_SEPARATORS = str.maketrans(" ._@", "----")
_NOT_IN_LABEL = re.compile(r"[^a-z0-9-]")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST_SUFFIXES = (".localdomain", ".local", ".lan")


def sanitised(hostname: str) -> str:
    """The label nearest to what a device calls itself; "node" if nothing of it is left."""
    text = hostname.casefold().rstrip(".")
    for suffix in _HOST_SUFFIXES:
        text = text.removesuffix(suffix)
    label = _NOT_IN_LABEL.sub("", text.translate(_SEPARATORS))
    # Two hyphens there mark encoded names (RFC 5891, 4.2.3.1): ours are never an encoding of another name.
    if label[2:4] == "--":
        label = label[:2] + "-" + label[4:].lstrip("-")
    return label[:MAX_LABEL].strip("-") or DEFAULT_LABEL


def checked(name: str) -> str:
    """A label as an admin gives it. Raises Invalid with the reason."""
    if len(name) > MAX_LABEL:
        raise Invalid(f"name is too long: at most {MAX_LABEL} characters", field="new-name")
    if not _LABEL.fullmatch(name):
        raise Invalid(f"invalid name {name!r}: only a-z, 0-9 and inner hyphens", field="new-name")
    if name in RESERVED or name[2:4] == "--":
        raise Invalid(f"the name {name!r} is reserved", field="new-name")
    return name


def suffixed(label: str, suffix: int) -> str:
    """The label with its suffix, shortened where both together are too long; suffix 0 is the label itself."""
    if suffix == 0:
        return label
    ending = f"-{suffix}"
    return label[: MAX_LABEL - len(ending)].rstrip("-") + ending


def belongs_to(name: str, label: str) -> bool:
    """Whether the name is this label, or this label with a suffix."""
    ending = name.rpartition("-")[2]
    is_suffix = ending.isdecimal() and ending != "0" and len(ending) <= 8
    return name == label or (is_suffix and name == suffixed(label, int(ending)))


class Search(msgspec.Struct, frozen=True):
    """Every suffix up to `taken` is held to be taken; `free` is the lowest known free one."""

    label: str
    taken: int = -1
    free: int = MAX_SUFFIX

    @property
    def found(self) -> str | None:
        return suffixed(self.label, self.free) if self.free == self.taken + 1 else None


def search(label: str) -> Search:
    return Search(label, taken=0) if label in RESERVED else Search(label)


def probes(search: Search) -> dict[str, int]:
    """The names to ask for next, with their suffixes."""
    lowest, width = search.taken + 1, search.free - search.taken - 1
    if search.free < MAX_SUFFIX:
        suffixes = range(lowest, search.free, -(-width // AT_ONCE))
    elif lowest <= 1:
        suffixes = range(lowest, lowest + 4)  # for most devices the first question is enough
    else:
        return {suffixed(search.label, n): n for n in (lowest + (1 << step) - 1 for step in range(24))}
    return {suffixed(search.label, suffix): suffix for suffix in suffixes}


def narrowed(search: Search, asked: dict[str, int], taken: Collection[str]) -> Search:
    """What is known after asking: of `asked`, those in `taken` are not free."""
    free = min((suffix for name, suffix in asked.items() if name not in taken), default=search.free)
    below = (suffix for name, suffix in asked.items() if name in taken and suffix < free)
    return Search(search.label, max(below, default=search.taken), free)
