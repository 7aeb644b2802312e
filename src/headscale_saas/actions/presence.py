"""Streams begin and end; online and offline."""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec

from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import NodeId, ProcessNumber, TailnetId


class Admitted(msgspec.Struct, frozen=True):
    """`token` stands for this stream for ever. `previous` is the process whose live stream it replaces."""

    token: int
    previous: ProcessNumber | None


async def admit(
    db: Database, process: ProcessNumber, tailnet: TailnetId, nodes: Collection[NodeId]
) -> dict[NodeId, Admitted]:
    """Counts new map streams in; nodes that were offline come online (that alone makes a version).

    A node that is missing in the answer does not exist, or has a newer stream already: end its stream.
    """
    raise NotImplementedError


async def ended(db: Database, tailnet: TailnetId, tokens: Mapping[NodeId, int]) -> None:
    """Streams ended. One that was replaced meanwhile (another token) counts for nothing."""
    raise NotImplementedError


async def settle(db: Database, now: datetime) -> int:
    """Takes nodes offline whose last stream ended 10 s ago, or whose process died. Returns how many."""
    raise NotImplementedError
