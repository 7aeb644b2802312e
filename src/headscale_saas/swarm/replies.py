"""What becomes of a request: a whole reply, or why there is none."""

import asyncio

from headscale_saas.errors import Error, ProtocolError
from headscale_saas.swarm.http2 import Headers

MAX_BODY = 1 << 20
SHOWN = 200


class UnexpectedStatus(Error):
    """The server answered with another status than 200. `text` is what the official client would log."""

    code = "unexpected_status"

    def __init__(self, path: str, status: int, text: str) -> None:
        super().__init__(f"{path}: {status} {text}")
        self.status = status
        self.text = text


class Reply:
    """Collects one answer; `done` is set when it is whole, or holds the error."""

    __slots__ = ("body", "done", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_headers(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers

    def on_data(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > MAX_BODY:
            raise ProtocolError("a reply of more than 1 MiB")

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def on_lost(self, error: Error) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def demand_ok(self, path: str) -> bytes:
        """The body. Raises UnexpectedStatus."""
        if self.status != 200:
            raise UnexpectedStatus(path, self.status, shown(self.body))
        return bytes(self.body)


def shown(body: bytes | bytearray) -> str:
    return bytes(body[:SHOWN]).decode("utf-8", "replace").strip()
