"""Tailnets: the head, the settings, and the row <-> value mapping of both.

The head is a row of the directory (`tailnets`); settings and policy are rows of the tailnet
(`tailnet_settings`). `tailnet.model.Tailnet` is both together.
"""

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import msgspec

from headscale_saas.tailnet.model import ClusterId, Settings, Tailnet, TailnetId, Version


class TailnetHead(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory knows of a tailnet."""

    id: TailnetId
    name: str
    cluster_id: ClusterId
    version: Version
    created_at: datetime


HEAD = "t.id, t.name, t.cluster_id, t.version, t.created_at"
"""The select list of a head, for a table aliased `t`."""


def head_from_record(row: Any) -> TailnetHead:
    return TailnetHead(
        id=row["id"],
        name=row["name"],
        cluster_id=row["cluster_id"],
        version=row["version"],
        created_at=row["created_at"],
    )


def tailnet_from(head: TailnetHead, settings: Settings) -> Tailnet:
    return Tailnet(
        id=head.id,
        name=head.name,
        cluster_id=head.cluster_id,
        version=head.version,
        settings=settings,
        created_at=head.created_at,
    )


def settings_from_text(text: str) -> Settings:
    """Reads the column `settings`: JSON; a member that is absent has its default."""
    return _DECODER.decode(text)


def settings_to_text(settings: Settings) -> str:
    return _ENCODER.encode(settings).decode()


def _read_network(kind: type, value: object) -> object:
    if kind in (IPv4Network, IPv6Network) and isinstance(value, str):
        return kind(value)
    raise NotImplementedError(kind)


def _write_network(value: object) -> str:
    if isinstance(value, IPv4Network | IPv6Network):
        return str(value)
    raise NotImplementedError(type(value))


_DECODER = msgspec.json.Decoder(Settings, dec_hook=_read_network)
_ENCODER = msgspec.json.Encoder(enc_hook=_write_network)
