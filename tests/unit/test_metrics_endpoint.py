"""What the listener of metrics answers, path by path."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

from headscale_saas.metrics import LENGTH, READY, WorkerMetrics, start_endpoint

TEXT = b'# HELP nodes Nodes.\n# TYPE nodes gauge\nnodes{process="1"} 3.0\n'


@contextmanager
def endpoint() -> Iterator[tuple[int, socket.socket]]:
    """The port, and the worker's end of its channel."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ours, workers = socket.socketpair()
    worker = WorkerMetrics()
    worker.connect(ours)
    with workers, start_endpoint(f"127.0.0.1:{port}", [worker]):
        yield port, workers
    worker.disconnect()


def ask(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_health_says_whether_every_worker_serves() -> None:
    with endpoint() as (port, worker):
        assert ask(port, "/health") == (503, '{"status":"fail"}')
        worker.sendall(READY)
        assert ask(port, "/health") == (200, '{"status":"pass"}')


def test_metrics_are_those_of_the_workers() -> None:
    with endpoint() as (port, worker):
        worker.sendall(READY + LENGTH.pack(len(TEXT)) + TEXT)
        status, text = ask(port, "/metrics")
        assert status == 200
        assert 'nodes{process="1"} 3.0' in text


def test_there_is_nothing_else() -> None:
    with endpoint() as (port, _):
        for path in ("/", "/metrics/", "/healthz", "/favicon.ico", "/debug?x=/metrics"):
            assert ask(port, path) == (404, ""), path
