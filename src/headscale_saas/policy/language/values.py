"""JSON values that know where they stand in the text."""

from collections.abc import Callable

import msgspec

from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.language.positions import Position, Text
from headscale_saas.tailcfg.codec import Json, encode


class Number(msgspec.Struct, frozen=True, gc=False):
    """A number as it is written."""

    literal: str

    def value(self) -> int | float:
        is_whole = self.literal.lstrip("-").isdigit()
        return int(self.literal) if is_whole else float(self.literal)

    def verbatim(self) -> int | float | msgspec.Raw:
        """The number, or its very digits where they would be written in another way or could not be held."""
        value, literal = self.value(), self.literal.encode()
        is_safe = abs(value) < 1 << 63 and encode(value) == literal
        return value if is_safe else msgspec.Raw(literal)


Data = None | bool | str | Number | list["Value"] | dict[str, "Value"]


class Value(msgspec.Struct, gc=False):
    """`at` is the offset of its first byte, `name_at` that of its name if it is a member of an object."""

    text: Text
    at: int
    data: Data
    name_at: int = -1

    @property
    def position(self) -> Position:
        return self.text.position(self.at)

    def refused(self, message: str) -> PolicyError:
        """To raise: what is wrong with this value."""
        return PolicyError(message, position=self.position)

    def name_refused(self, message: str) -> PolicyError:
        """To raise: what is wrong with the name of this member."""
        return PolicyError(message, position=self.text.position(self.name_at))

    def plain(self, number: Callable[[Number], Json] = Number.value) -> Json:
        """The value without places."""
        data = self.data
        if isinstance(data, dict):
            return {name: member.plain(number) for name, member in data.items()}
        if isinstance(data, list):
            return [item.plain(number) for item in data]
        return number(data) if isinstance(data, Number) else data
