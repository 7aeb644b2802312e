"""What a client's header block asks for, and what of it is refused before the body is read."""

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from headscale_saas.errors import Invalid

_MAX_QUERY_FIELDS = 50


class Head(NamedTuple):
    """`:authority` is left out on purpose: clients put anything there. An absent length is None."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    content_length: int | None

    @property
    def encoded(self) -> bool:
        """Whether the body is compressed; we never decompress requests."""
        return self.headers.get("content-encoding", "identity").strip().lower() != "identity"


def read_head(fields: list[tuple[bytes, bytes]]) -> Head:
    """Header fields as `h2` has checked them. Raises Invalid for what still makes no sense."""
    method = target = ""
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name == ":method":
            method = value
        elif name == ":path":
            target = value
        elif not name.startswith(":"):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path, _, query = target.partition("?")
    return Head(method, unquote(path), _query(query), headers, _length(headers.get("content-length")))


def _query(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError as error:
        raise Invalid("too many query fields", field="query") from error


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid("content-length is not a number", field="content-length")
    return int(text)
