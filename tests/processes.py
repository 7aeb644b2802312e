"""Real `headscale-saas serve` processes on one database, and the small load balancer in front of them."""
# ruff: noqa: ASYNC109 - limits are part of what a test asks for, and processes do not call back

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import yaml
from tests.service import DERP_MAP
from tests.waiting import until

RUN = "import sys; from headscale_saas.cli import main; sys.exit(main())"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Served:
    """One `serve` with its workers: a process group of its own."""

    def __init__(self, directory: Path, name: str, dsn: str, **settings: Any) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.directory = directory / name
        self.directory.mkdir()
        (directory / "derp.yaml").write_text(DERP_MAP)
        self.settings: dict[str, Any] = {
            "server_url": "http://127.0.0.1:8080",
            "listen_addr": f"127.0.0.1:{self.port}",
            "metrics_listen_addr": f"127.0.0.1:{self.metrics_port}",
            "state_dir": str(self.directory),
            "noise": {"private_key_path": str(directory / "noise_private.key")},
            "database": {"url": dsn},
            "derp": {"paths": [str(directory / "derp.yaml")], "urls": []},
            "log": {"level": "warn"},
            **settings,
        }
        self.config = self.directory / "config.yaml"
        self.config.write_text(yaml.safe_dump(self.settings))
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str, most_files: int | None = None) -> Self:
        limited = [] if most_files is None else ["prlimit", f"--nofile={most_files}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*limited, sys.executable, "-c", RUN, "-c", str(self.config), "serve", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    async def healthy(self, timeout: float = 40.0) -> Self:
        """Waits until /health says so."""

        async def is_healthy() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return await asyncio.to_thread(self.get, f"http://127.0.0.1:{self.port}/health") is not None

        await until(is_healthy, within=timeout, told=self.log.read_text)
        return self

    def get(self, url: str) -> str | None:
        """The body; None for any trouble."""
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return None

    async def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        return await asyncio.to_thread(self.get, url) or ""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def workers(self) -> list[int]:
        """The numbers of its worker processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(child) for child in children if b"headscale_saas.worker" in _command(int(child))]

    def kill(self) -> None:
        """`kill -9` of all of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    async def ended(self, timeout: float = 20.0) -> int:
        """Waits for its end; returns the exit status."""
        return await asyncio.to_thread(self.process.wait, timeout)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Balancer:
    """TCP, round robin; a backend that refuses is passed over. When one breaks, so does the client's side."""

    def __init__(self, ports: Iterable[int]) -> None:
        self._turns = itertools.cycle(list(ports))
        self._count = len(list(ports))
        self._server: asyncio.Server | None = None
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(self._count):
            try:
                theirs = await asyncio.open_connection("127.0.0.1", next(self._turns))
                break
            except OSError:
                continue
        else:
            writer.close()
            return
        await asyncio.gather(_pump(reader, theirs[1]), _pump(theirs[0], writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
