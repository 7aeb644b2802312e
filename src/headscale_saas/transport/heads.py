"""Judging a header block: what two parsers in a row could read in two ways is refused (RFC 9112)."""

from collections.abc import Sequence
from typing import NamedTuple

from headscale_saas.transport.limits import Limits

_SINGLE = (b"host", b"content-length", b"transfer-encoding", b"upgrade", b"content-encoding")


class Refusal(Exception):
    """Leaves the parser's callback; `status` is what the client is told, with these words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Head(NamedTuple):
    """The request target, and the fields as they came, names in lower case. `version` is "1.1" or another."""

    target: bytes
    fields: Sequence[tuple[bytes, bytes]]
    version: str


def judge(head: Head, limits: Limits) -> None:
    """Raises Refusal."""
    names = [name for name, _ in head.fields]
    size = len(head.target) + sum(len(name) + len(value) + 4 for name, value in head.fields)
    if size > limits.header_bytes:
        raise Refusal(431, "header block too long")
    if any(names.count(name) > 1 for name in _SINGLE):
        raise Refusal(400, "a header field that may come once comes twice")
    if not head.target.startswith(b"/"):
        raise Refusal(400, "only origin-form request targets")
    fields = dict(head.fields)
    if b"host" not in fields and head.version == "1.1":
        raise Refusal(400, "missing Host")
    _judge_body(fields, head.version, limits)


def _judge_body(fields: dict[bytes, bytes], version: str, limits: Limits) -> None:
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if length is not None and coding is not None:
        raise Refusal(400, "both Content-Length and Transfer-Encoding")
    if coding is not None and coding.lower() != b"chunked":
        raise Refusal(400, "unknown Transfer-Encoding")
    if coding is not None and version != "1.1":
        raise Refusal(400, "Transfer-Encoding needs HTTP/1.1")
    if length is not None and not (length.isdigit() and len(length) < 19):
        raise Refusal(400, "Content-Length is not a number")
    if length is not None and int(length) > limits.body_bytes:
        raise Refusal(413, "body too long")
    if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Refusal(415, "request bodies are not decompressed")


def joined(fields: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """As text; the values of a field that comes more than once in one line."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
