"""JSON as Go reads and writes it, for bytes that come from strangers.

* `null` means absent, unknown members are dropped, of two equal names the last wins.
* Go's zero time `0001-01-01T00:00:00Z` means "none" and becomes None where a field is declared so.
* U+0000 is refused: PostgreSQL cannot hold it and clients never mean it.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar, cast

import msgspec

from headscale_saas.errors import Invalid
from headscale_saas.tailcfg.keys import Key

T = TypeVar("T")

Json = Any
"""Any JSON value that we pass on without looking at it."""

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339 with a zone; a time without one is an error, as in Go."""

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]

ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""Go's zero time.Time: "never" or "none" where a time must be written."""

MAX_BODY_BYTES = 1 << 20
MAX_NULLS_BYTES = 64 << 10
"""Looking for nulls takes half a second for a megabyte of brackets; what clients send is far shorter."""

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Wire(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal", gc=False):
    """The base of all wire types: immutable, compared by value, Go's member names."""


def settle_times(value: Wire, *names: str) -> None:
    """For `__post_init__`: makes these optional times UTC, or None where they were Go's zero time."""
    for name in names:
        moment = getattr(value, name)
        if moment is not None and (moment.year <= 1 or moment.tzinfo is not UTC):
            msgspec.structs.force_setattr(value, name, time_or_none(moment))


def time_or_none(moment: datetime | None) -> datetime | None:
    """A time as read from the wire, in UTC; Go's zero time becomes None. ValueError past the year 9999."""
    if moment is None or moment.year <= 1:
        return None
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("time out of range") from None


def decode(kind: type[T], data: bytes, *, limit: int = MAX_BODY_BYTES) -> T:
    """Reads one JSON value. Raises Invalid for whatever cannot be read, with the reason."""
    if len(data) > limit:
        raise Invalid(f"the message is longer than {limit} bytes", code="too_long")
    if b"\\u0000" in data and _ESCAPED_NUL.search(data):
        raise Invalid("the message contains U+0000")
    try:
        return _decode(kind, data)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise Invalid(_one_line(error)) from None
    except RecursionError:
        raise Invalid("the message is nested too deeply") from None


def encode(value: object) -> bytes:
    """Writes one JSON value. `msgspec.Raw` values are put in as they are."""
    return _ENCODER.encode(value)


def _decode(kind: type[T], data: bytes) -> T:
    try:
        value: T = _decoder(cast(Any, kind)).decode(data)
    except msgspec.ValidationError:
        # Go takes null for every type. That is rare enough to pay for it only here.
        if b"null" not in data or len(data) > MAX_NULLS_BYTES:
            raise
        plain = _without_nulls(msgspec.json.decode(data))
        return msgspec.convert(plain, kind, dec_hook=_read_key)
    return value


def _without_nulls(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _one_line(error: Exception) -> str:
    return str(error).encode("utf-8", "replace").decode().replace("\n", " ")[:300]


def _read_key(kind: type, value: object) -> Key:
    if not issubclass(kind, Key):
        raise NotImplementedError(kind)
    if not isinstance(value, str):
        raise ValueError(f"not a {kind.__name__}")
    return kind.parse(value)


def _write_key(value: object) -> str:
    if isinstance(value, Key):
        return str(value)
    raise NotImplementedError(type(value))


@lru_cache(maxsize=128)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_read_key)


_ENCODER = msgspec.json.Encoder(enc_hook=_write_key)
