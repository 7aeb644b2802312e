"""Our service on `ctl`: control processes of two clusters, one PostgreSQL, a relay, and proxies in front.

http://10.77.0.2:8081  HAProxy → a1, a2   cluster 1
http://10.77.0.2:8082  HAProxy → b1       cluster 2, in a far time zone
http://10.77.0.2:8080  nginx   → all      any process serves any tailnet
"""

import json
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from real import database
from real.client import CACHE, NEWEST
from real.host import Host, Process
from real.lab import Lab
from real.proxy import start_haproxy, start_nginx, wait_for_port
from real.wait import together, until

BASE_DOMAIN = "example.lab"
RELAY_PORT, STUN_PORT = 3340, 3478
ANY_CLUSTER_PORT = 8080
EPHEMERAL_SECONDS = 66
COMMAND = str(Path(sys.executable).parent / "headscale-saas")
DERP_MAP = {
    "regions": {
        900: {
            "regionid": 900,
            "regioncode": "lab",
            "regionname": "Lab",
            "nodes": [
                {
                    "name": "900a",
                    "regionid": 900,
                    "hostname": "10.77.0.2",
                    "ipv4": "10.77.0.2",
                    "ipv6": "none",
                    "stunport": STUN_PORT,
                    "stunonly": False,
                    "derpport": RELAY_PORT,
                }
            ],
        }
    }
}


@dataclass
class ControlProcess:
    """One `headscale-saas serve`, with its configuration file."""

    host: Host
    name: str
    cluster: int
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    process: Process | None = None

    @property
    def config(self) -> Path:
        return self.host.directory / f"{self.name}.yaml"

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:{8080 + self.cluster}"

    def write_config(self) -> None:
        directory = self.host.directory / self.name
        directory.mkdir(exist_ok=True)
        (self.host.directory / "derp.yaml").write_text(yaml.safe_dump(DERP_MAP))
        self.config.write_text(yaml.safe_dump(self._settings(directory)))

    def _settings(self, directory: Path) -> dict[str, Any]:
        return {
            "server_url": self.url,
            "cluster_id": self.cluster,
            "listen_addr": f"127.0.0.1:{self.port}",
            "metrics_listen_addr": f"127.0.0.1:{self.port + 1000}",
            "trusted_proxies": ["127.0.0.1/32", f"{self.host.address}/32"],
            "unix_socket": str(directory / "sock"),
            "state_dir": str(directory),
            "secrets": {"key_path": str(self.host.directory / "secrets.key")},
            "noise": {"private_key_path": str(self.host.directory / "noise_private.key")},
            "prefixes": {"v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48", "allocation": "sequential"},
            "derp": {"paths": [str(self.host.directory / "derp.yaml")], "urls": []},
            "database": {
                "type": "postgres",
                "postgres": {
                    "host": "127.0.0.1",
                    "port": database.PORT,
                    "name": database.NAME,
                    "user": database.USER,
                    "pass": database.PASSWORD,
                    "ssl": False,
                },
            },
            "dns": {
                "magic_dns": True,
                "base_domain": BASE_DOMAIN,
                "override_local_dns": False,
                "nameservers": {"global": []},
            },
            "node": {"ephemeral": {"inactivity_timeout": f"{EPHEMERAL_SECONDS}s"}},
            "log": {"level": "info", "format": "text"},
        }

    def start(self) -> None:
        """Starts the server and waits until it says that it is well."""
        argv = [COMMAND, "serve", "-c", str(self.config)]
        self.process = self.host.start(self.name, *argv, env=self.environment)
        wait_for_port(self.host, self.process, self.port, seconds=60)
        until(f"{self.name} to be well", lambda: healthy(self.host, "127.0.0.1", self.port), 30)

    def kill(self) -> None:
        """`kill -9` of the supervisor; its workers have to notice by themselves."""
        assert self.process is not None
        self.process.kill()

    def stop(self) -> None:
        assert self.process is not None
        self.process.stop()


def healthy(host: Host, address: str, port: int) -> bool:
    """Whether /health answers with 200."""
    script = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)"
    url = f"http://{address}:{port}/health"
    return host.run(sys.executable, "-Ic", script, url, check=False).returncode == 0


class Service:
    """Everything that serves clients."""

    def __init__(self, lab: Lab) -> None:
        self.host = lab.ctl
        self.database = database.PostgreSQL(self.host)
        self.a1 = ControlProcess(self.host, "a1", 1, 8101)
        self.a2 = ControlProcess(self.host, "a2", 1, 8102)
        self.b1 = ControlProcess(self.host, "b1", 2, 8201, {"TZ": "America/St_Johns"})
        self.processes = [self.a1, self.a2, self.b1]
        self.proxies: list[Process] = []

    @property
    def any_url(self) -> str:
        return f"http://{self.host.address}:{ANY_CLUSTER_PORT}"

    def start(self) -> None:
        relay = self.host.start("derper", str(CACHE / NEWEST / "derper"), "-dev")
        self.database.create()
        for process in self.processes:
            process.write_config()
        self.a1.start()  # alone at first: it makes the tables
        together(ControlProcess.start, self.processes[1:])
        ports = {process.name: f"127.0.0.1:{process.port}" for process in self.processes}
        self.proxies = [
            start_haproxy(self.host, "haproxy-1", 8081, [ports["a1"], ports["a2"]]),
            start_haproxy(self.host, "haproxy-2", 8082, [ports["b1"]]),
            start_nginx(self.host, "nginx", ANY_CLUSTER_PORT, list(ports.values())),
        ]
        relay.wait_for("STUN server listening")
        for port in (ANY_CLUSTER_PORT, 8081, 8082):
            until(f"health through port {port}", partial(healthy, self.host, self.host.address, port), 20)

    def cli(self, *arguments: str, tailnet: str | None = None, cluster: int = 1) -> str:
        """What `headscale-saas …` prints on standard output; CommandError unless it ends with 0."""
        return self._command(tailnet, cluster, arguments)

    def ask(self, *arguments: str, tailnet: str | None = None) -> Any:
        """The JSON that a CLI call prints."""
        return json.loads(self._command(tailnet, 1, (*arguments, "-o", "json")))

    def _command(self, tailnet: str | None, cluster: int, arguments: tuple[str, ...]) -> str:
        config = (self.a1 if cluster == 1 else self.b1).config
        of = ["--tailnet", tailnet] if tailnet else []
        return self.host.run(COMMAND, "-c", str(config), *arguments, *of).stdout

    def picture(self) -> str:
        """What to look at when a test has failed."""
        everything = [process.process for process in self.processes] + list(self.proxies)
        return "\n".join(
            f"--- {process.name}, {'alive' if process.alive else f'ended with {process.status}'}\n"
            f"{process.tail(50)}"
            for process in everything
            if process is not None
        )
