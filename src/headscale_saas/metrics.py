"""One /metrics for all workers: each hands over its text when asked, with its own `process` label.

The channel between supervisor and worker is a pair of sockets. The supervisor writes a line, the worker
answers with a length and that many bytes. The worker's first message says that it is ready; the end of
the channel tells either side that the other is gone.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from headscale_saas.config import host_port
from headscale_saas.errors import Unavailable

ASK = b"metrics\n"
READY = b"ready\n"
ANSWER_SECONDS = 2.0
HEALTH_TYPE = "application/health+json"
LENGTH = struct.Struct("!I")


class WorkerMetrics:
    """The supervisor's end of one worker's channel."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._lock = threading.Lock()
        self._ready = False

    def connect(self, channel: socket.socket) -> None:
        with self._lock:
            channel.settimeout(ANSWER_SECONDS)
            self._channel, self._ready = channel, False

    def disconnect(self) -> None:
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel, self._ready = None, False

    @property
    def is_ready(self) -> bool:
        """Whether the worker has said that it serves. Does not wait."""
        with self._lock:
            if self._channel is not None and not self._ready:
                # MSG_DONTWAIT is no way out: Python still waits for the timeout that a socket has.
                self._channel.settimeout(0)
                with suppress(OSError):
                    self._ready = self._channel.recv(len(READY)) == READY
                self._channel.settimeout(ANSWER_SECONDS)
            return self._ready

    def text(self) -> str:
        """The worker's metrics; "" if it does not answer in time."""
        if not self.is_ready:
            return ""
        with self._lock, suppress(OSError):
            if self._channel is not None:
                self._channel.sendall(ASK)
                (length,) = LENGTH.unpack(_receive(self._channel, LENGTH.size))
                return _receive(self._channel, length).decode()
        return ""


def _receive(channel: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = channel.recv(count - len(parts))
        if not part:
            raise OSError("the worker is gone")
        parts += part
    return bytes(parts)


class _Workers(Collector):
    """Families of the same name from several workers become one, as the text format wants."""

    def __init__(self, workers: Sequence[WorkerMetrics]) -> None:
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for worker in self._workers:
            for family in text_string_to_metric_families(worker.text()):
                known = families.setdefault(family.name, family)
                if known is not family:
                    known.samples.extend(family.samples)
        return families.values()


@contextmanager
def start_endpoint(address: str, workers: Sequence[WorkerMetrics]) -> Iterator[None]:
    """Serves /metrics and /health on host:port; an empty address turns it off."""
    if not address:
        yield
        return
    host, port = host_port(address)
    registry = CollectorRegistry()
    registry.register(_Workers(workers))
    try:
        server = make_server(host or "0.0.0.0", port, _pages(registry, workers), _Server, _Silent)
    except OSError as error:
        raise Unavailable(f"cannot listen on {address} for metrics: {error.strerror}") from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pages(registry: CollectorRegistry, workers: Sequence[WorkerMetrics]) -> WSGIApplication:
    pages = make_wsgi_app(registry)

    def page(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            found: Iterable[bytes] = pages(environ, start)
            return found
        if environ["PATH_INFO"] != "/health":
            start("404 Not Found", [])
            return [b""]
        is_well = all(worker.is_ready for worker in workers)
        start("200 OK" if is_well else "503 Service Unavailable", [("content-type", HEALTH_TYPE)])
        return [b'{"status":"pass"}' if is_well else b'{"status":"fail"}']

    return page


class _Server(ThreadingWSGIServer):
    """A thread for each question; IPv6 if the address is one."""

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class _Silent(WSGIRequestHandler):
    timeout = ANSWER_SECONDS * 5
    """Of a client that does not say what it wants."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        return


async def answer(channel: socket.socket, text: Callable[[], bytes], gone: Callable[[], None]) -> None:
    """The worker's end: says that it is ready, then answers each question. `gone`: the supervisor is."""
    loop = asyncio.get_running_loop()
    channel.setblocking(False)
    with suppress(ConnectionError):
        await loop.sock_sendall(channel, READY)
        while await loop.sock_recv(channel, len(ASK)):
            body = text()
            await loop.sock_sendall(channel, LENGTH.pack(len(body)) + body)
    gone()
