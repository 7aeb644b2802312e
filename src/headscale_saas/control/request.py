"""A request as it comes out of Noise, and the stream its answer goes to, as `transport` provides them.

Only the shape is named here: this package knows no sockets.
"""

from collections.abc import Mapping
from typing import Protocol

from headscale_saas.live.session import ByteStream
from headscale_saas.tailcfg.keys import MachineKey


class Connection(Protocol):
    """`machine` is the Noise peer; `peer` its network address as text, for logs and the audit trail."""

    @property
    def machine(self) -> MachineKey: ...
    @property
    def protocol_version(self) -> int: ...
    @property
    def peer(self) -> str: ...


class Stream(ByteStream, Protocol):
    """`respond` answers whole and ends; `start` is followed by any number of writes."""

    def respond(self, status: int, body: bytes = b"", content_type: str | None = None) -> None: ...
    def start(self, status: int, headers: Mapping[str, str]) -> None: ...


class Request(Protocol):
    """One request with its whole body."""

    @property
    def connection(self) -> Connection: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def stream(self) -> Stream: ...
