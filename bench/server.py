"""A server of one's own: `headscale-saas serve` with its embedded database in a temporary directory."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.usage import POSTGRES, Usage, name, tree, usage

START_SECONDS = 60.0
STOP_SECONDS = 30.0
DERP_MAP = {
    "regions": {
        999: {
            "regionid": 999,
            "regioncode": "bench",
            "regionname": "Bench",
            "nodes": [{"name": "999a", "regionid": 999, "hostname": "127.0.0.1", "ipv4": "127.0.0.1"}],
        }
    }
}
COMMAND = (sys.executable, "-c", "from headscale_saas.cli import main; main()")


class Server:
    """Runs until `stop`. `cores` are those it and its database may use.

    It listens on all addresses, for who makes many connections: between the same two there are as many as
    there are ports (28,000 on Linux), and past half of that the kernel takes long to find a free one.
    """

    def __init__(
        self, cores: Collection[int], *, workers: int = 1, settings: Mapping[str, object] | None = None
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="headscale-saas-bench-"))
        self.directory.chmod(0o711)  # PostgreSQL runs as another user if we are root
        self.port, self.metrics_port = _free_port(), _free_port()
        self.url, self.other_url = (f"http://127.0.0.{number}:{self.port}" for number in (1, 2))
        self.config_file = self.directory / "config.yaml"
        self._derp = self.directory / "derp.json"
        self._derp.write_text(json.dumps(DERP_MAP))
        self.config_file.write_text(json.dumps(self._config(workers) | dict(settings or {})))
        self.log = self.directory / "serve.log"
        with self.log.open("wb") as log:
            command = pinned([*COMMAND, "--config", str(self.config_file), "serve"], cores)
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def wait(self) -> None:
        """Until it serves. Raises RuntimeError with the end of its log if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/key?v=142", timeout=2) as reply:
                    if reply.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the server did not start:\n" + self.log.read_text()[-3000:])

    def cli(self, *words: str) -> str:
        """What the command line prints. Raises RuntimeError with its complaint."""
        command = [*COMMAND, "--config", str(self.config_file), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def auth_key(self, tailnet: str) -> str:
        """A reusable key of a new tailnet, made as an admin makes it."""
        self.cli("tailnets", "create", tailnet)
        self.cli("--tailnet", tailnet, "users", "create", "bench")
        words = ("preauthkeys", "create", "--user", "bench", "--reusable", "--expiration", "24h")
        return self.cli("--tailnet", tailnet, *words).splitlines()[-1]

    def usage(self, *, memory: bool = True) -> Usage:
        return usage(self._process.pid, memory=memory)

    @property
    def trees(self) -> list[tuple[str, int]]:
        """The roots below the supervisor, each "server" or "postgres"."""
        below = [pid for pid in tree(self._process.pid)[1:] if _parent(pid) == self._process.pid]
        return [("postgres" if name(pid) == POSTGRES else "server", pid) for pid in below]

    def metrics(self) -> str:
        """The text of /metrics, of all workers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as reply:
            text: bytes = reply.read()
        return text.decode()

    def stop(self) -> None:
        """In order; what is left after 30 s is killed. The directory is gone afterwards."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in reversed(tree(self._process.pid)):
                os.kill(pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _config(self, workers: int) -> dict[str, object]:
        return {
            "server_url": self.url,
            "listen_addr": f"0.0.0.0:{self.port}",
            "metrics_listen_addr": f"127.0.0.1:{self.metrics_port}",
            "state_dir": str(self.directory / "state"),
            "unix_socket": str(self.directory / "headscale.sock"),
            "workers": workers,
            "noise": {"private_key_path": str(self.directory / "noise_private.key")},
            "derp": {"urls": [], "paths": [str(self._derp)], "auto_update_enabled": False},
            "log": {"level": "warn"},
        }


@contextmanager
def serving(
    cores: Collection[int], *, workers: int = 1, settings: Mapping[str, object] | None = None
) -> Iterator[Server]:
    server = Server(cores, workers=workers, settings=settings)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def pinned(command: list[str], cores: Collection[int]) -> list[str]:
    """The command on these cores only, and all that it starts."""
    if not shutil.which("taskset"):
        return command
    return ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
