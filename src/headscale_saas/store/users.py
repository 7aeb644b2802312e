"""Users: row <-> value, and the queries."""

from typing import Any

from headscale_saas.tailnet.model import Role, User

COLUMNS = (
    "id", "name", "display_name", "email", "provider", "provider_id", "role", "groups", "picture_url",
    "created_at",
)  # fmt: skip
"""The columns a User is made of, in the order of `to_row`."""

SELECT = ", ".join(f"u.{name}" for name in COLUMNS)
"""The select list, for a table aliased `u`."""

ROLES = {role.value: role for role in Role}


def from_record(row: Any) -> User:
    """A row with all of COLUMNS."""
    return User(
        id=row["id"],
        name=row["name"],
        display_name=row["display_name"],
        email=row["email"],
        provider=row["provider"],
        provider_id=row["provider_id"],
        role=ROLES[row["role"]],
        groups=tuple(row["groups"]),
        picture_url=row["picture_url"],
        created_at=row["created_at"],
    )


def to_row(user: User) -> tuple[object, ...]:
    """The values of COLUMNS, as the driver takes them."""
    return tuple(getattr(user, name) for name in COLUMNS)
