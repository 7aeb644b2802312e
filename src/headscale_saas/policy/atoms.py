"""The words of a policy as bits: each selector and posture has one, and a node's mask says which contain it.

A user token means the user whose login it is; `name@` means a user without a domain, and the identifier at
the identity provider is a token too.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from headscale_saas.policy import spans
from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.selectors import ANY, DANGER_ALL, TAGGED, Kind, Selector
from headscale_saas.policy.postures import Value, attributes_of, holds
from headscale_saas.policy.prefixes import PrefixIndex
from headscale_saas.policy.resolving import Literals, is_literal
from headscale_saas.policy.spans import Spans
from headscale_saas.tailnet.model import Node, Role, User

ROLES: Mapping[str, frozenset[Role]] = {
    "autogroup:member": frozenset(Role),
    "autogroup:owner": frozenset({Role.OWNER}),
    "autogroup:admin": frozenset({Role.OWNER, Role.ADMIN}),
    "autogroup:it-admin": frozenset({Role.IT_ADMIN}),
    "autogroup:network-admin": frozenset({Role.NETWORK_ADMIN}),
    "autogroup:billing-admin": frozenset({Role.BILLING_ADMIN}),
    "autogroup:auditor": frozenset({Role.AUDITOR}),
}

MOST_DEVICES = 1024
"""So many kinds of devices are remembered with the postures they have."""

FEW = 32

Numbers = dict[str, list[int]]
"""Numbers of selectors by what they name."""

IDENTITY_KINDS = frozenset({Kind.USER, Kind.DOMAIN, Kind.GROUP, Kind.TAG})


def indices(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, from the lowest."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _mask(numbers: Iterable[int]) -> int:
    """At once: one by one, each step would copy a number as long as the whole."""
    numbers = list(numbers)
    if len(numbers) < FEW:
        return sum(1 << number for number in set(numbers))
    octets = bytearray(max(numbers) // 8 + 1)
    for number in numbers:
        octets[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(octets, "little")


class Atoms:
    """The bits of these selectors, and of the document's postures.

    `literals` are the numbers of those that name addresses and not nodes, `spans` what they name, `literal`
    their bits. Selectors that can contain no node (`autogroup:self`, services, those not given) have no bit.
    """

    def __init__(
        self, document: Document, selectors: Iterable[Selector], meaning: Literals | None = None
    ) -> None:
        known = dict.fromkeys(selectors)
        # Identities first: masks of rules that name no address stay short, however many addresses there are.
        identities = [s for s in known if not is_literal(s) and _may_contain_nodes(s)]
        literals = [s for s in known if is_literal(s)]
        self._document = document
        self._numbers = {selector: number for number, selector in enumerate(identities)}
        first = len(self._numbers)
        self._postures = {name: first + number for number, name in enumerate(document.postures)}
        first += len(self._postures)
        self._numbers |= {selector: first + number for number, selector in enumerate(literals)}
        meaning = meaning or Literals(document)
        self.literals: Mapping[Selector, int] = {one: self._numbers[one] for one in literals}
        self.spans: Mapping[int, Spans] = {n: meaning.spans(one) for one, n in self.literals.items()}
        self.literal = _mask(self.spans)
        self._held: dict[frozenset[tuple[str, Value]], int] = {}
        self._prefixes = PrefixIndex(self.spans.items())
        self._index_identities()

    @property
    def has_postures(self) -> bool:
        """Whether masks depend on what devices report."""
        return bool(self._postures)

    def bit(self, selector: Selector) -> int:
        """`1 << n`, or 0 if the selector can contain no node."""
        number = self._numbers.get(selector)
        return 0 if number is None else 1 << number

    def number(self, selector: Selector) -> int | None:
        """The n of its bit."""
        return self._numbers.get(selector)

    def bits(self, selectors: Iterable[Selector]) -> int:
        return _mask(self._known(selectors))

    def posture_bits(self, names: Iterable[str]) -> int:
        return _mask(self._postures[name] for name in names if name in self._postures)

    def mask(self, node: Node, owner: User | None) -> int:
        """Which selectors and postures contain the node. `owner` None = it is tagged."""
        return self.identity(node.tags, owner) | self.place(node)

    def identity(self, tags: tuple[str, ...], owner: User | None) -> int:
        """The part of the mask that all nodes of this owner, or with these tags, have in common."""
        if tags:
            owned = chain(self._tagged, *(self._by_tag.get(tag, ()) for tag in tags))
        else:
            owned = chain(self._of_user(owner) if owner is not None else ())
        return _mask(chain(self._everyone, owned))

    def place(self, node: Node) -> int:
        """The part of the mask that comes from the node's addresses and what it reports."""
        found: list[int] = []
        for address in (node.ipv4, node.ipv6):
            if address is not None and self.spans:
                found += self._prefixes.containing(spans.number(address))
        mask = _mask(found)
        return mask | self._posture_mask(node) if self._postures else mask

    def overlapping(self, pieces: Spans) -> int:
        """The bits of the literal selectors that name any of these addresses."""
        return _mask(self._prefixes.overlapping(pieces))

    def _posture_mask(self, node: Node) -> int:
        attributes = attributes_of(node)
        key = frozenset(attributes.items())
        mask = self._held.get(key)
        if mask is None:
            known = self._document.postures.items()
            mask = self.posture_bits(name for name, assertions in known if holds(assertions, attributes))
            if len(self._held) == MOST_DEVICES:
                self._held.clear()
            self._held[key] = mask
        return mask

    def _of_user(self, user: User) -> Iterator[int]:
        yield from self._by_role[user.role]
        for token in tokens_of(user):
            yield from self._by_login.get(token, ())
        _, at, domain = user.login_name.rpartition("@")
        if at:
            yield from self._by_domain.get(domain, ())

    def _index_identities(self) -> None:
        self._everyone = self._known((ANY, DANGER_ALL))
        self._tagged = self._known((TAGGED,))
        self._by_role = {role: self._known(_groups_of(role)) for role in Role}
        self._by_login: Numbers = {}
        self._by_domain: Numbers = {}
        self._by_tag: Numbers = {}
        for selector, number in self._numbers.items():
            if selector.kind in IDENTITY_KINDS:
                self._index(selector, number)

    def _known(self, selectors: Iterable[Selector]) -> list[int]:
        return [self._numbers[one] for one in selectors if one in self._numbers]

    def _index(self, selector: Selector, number: int) -> None:
        if selector.kind is Kind.GROUP:
            for member in self._document.groups.get(selector.name, ()):
                self._index(member, number)
        elif selector.kind is Kind.USER:
            self._by_login.setdefault(selector.name, []).append(number)
        elif selector.kind is Kind.DOMAIN:
            self._by_domain.setdefault(selector.name, []).append(number)
        else:
            self._by_tag.setdefault(selector.name, []).append(number)


def _groups_of(role: Role) -> Iterator[Selector]:
    return (Selector(Kind.AUTOGROUP, name) for name, roles in ROLES.items() if role in roles)


def tokens_of(user: User) -> set[str]:
    """The words that name this user in a policy."""
    return {user.login_name, user.email, user.provider_id, f"{user.name}@"} - {""}


def _may_contain_nodes(selector: Selector) -> bool:
    return (
        selector.kind in IDENTITY_KINDS
        or selector in (ANY, DANGER_ALL, TAGGED)
        or (selector.kind is Kind.AUTOGROUP and selector.name in ROLES)
    )
