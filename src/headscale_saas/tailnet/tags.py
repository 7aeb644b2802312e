"""Tags: what they look like, and which a device may ask for."""

import re
from collections.abc import Iterable

from headscale_saas.errors import Invalid, Refused

MAX_TAGS = 32
MAX_TAG_LENGTH = 128

_TAG = re.compile(r"tag:[a-z][a-z0-9-]*")


def checked(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as an admin gives them, sorted and without repeats. Raises Invalid with the reason."""
    result = tuple(sorted(set(tags)))
    if len(result) > MAX_TAGS:
        raise Invalid(f"too many tags: at most {MAX_TAGS}", field="tags")
    for tag in result:
        if not tag.startswith("tag:"):
            raise Invalid(f"tag must start with the string 'tag:', not {tag[:32]!r}", field="tags")
        if len(tag) > MAX_TAG_LENGTH or not _TAG.fullmatch(tag):
            raise Invalid(f"tag must be a lower-case letter, then a-z, 0-9, '-': {tag[:32]!r}", field="tags")
    return result


def refusal(tags: Iterable[str]) -> Refused:
    """The answer to tags that the asker may not have (headscale's words)."""
    shown = " ".join(sorted(set(tags))[:MAX_TAGS])
    return Refused(f"requested tags [{shown}] are invalid or not permitted", code="tags_not_permitted")
