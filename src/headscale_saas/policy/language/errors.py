"""How a policy is refused."""

from headscale_saas.errors import Invalid
from headscale_saas.policy.language.positions import Position


class PolicyError(Invalid):
    """The policy cannot be carried out. `message` is what the real service says where that is known, without
    the place; `str()` is for people and begins with `line L, column C: `.

    `position` is None only where the text as a whole is at fault.
    """

    code = "invalid_policy"

    def __init__(self, message: str, *, position: Position | None = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.position = position

    def __str__(self) -> str:
        return f"{self.position}: {self.message}" if self.position else self.message


class Malformed(ValueError):
    """A single word cannot be read; whoever knows where it stands makes a PolicyError of it."""
