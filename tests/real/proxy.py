"""HAProxy and nginx as Debian packages them, with our sample configurations."""

import re
from collections.abc import Sequence
from pathlib import Path

from real.host import Host, Process
from real.wait import until

DEPLOY = Path(__file__).parents[2] / "deploy"


def _with_servers(sample: str, server: str, backends: Sequence[str]) -> str:
    """The sample with its `server` lines (a pattern) replaced by one for each backend."""
    lines = [line for line in sample.splitlines() if re.match(server, line)]
    assert lines, f"the sample has no line like {server}"
    model = lines[0]
    address = r"127\.0\.0\.1:\d+"
    ours = [
        re.sub(address, backend, model).replace("process1", f"process{number}")
        for number, backend in enumerate(backends, 1)
    ]
    return sample.replace("\n".join(lines), "\n".join(ours))


def haproxy_config(listen: str, backends: Sequence[str]) -> str:
    """deploy/haproxy.cfg for other addresses, otherwise as it is."""
    sample = _with_servers((DEPLOY / "haproxy.cfg").read_text(), r" +server process", backends)
    return sample.replace("bind :8080", f"bind {listen}")


def nginx_config(listen: str, backends: Sequence[str]) -> str:
    """deploy/nginx.conf for other addresses, otherwise as it is."""
    sample = _with_servers((DEPLOY / "nginx.conf").read_text(), r" +server \d", backends)
    return sample.replace("listen 8080;", f"listen {listen};")


def start_haproxy(host: Host, name: str, port: int, backends: Sequence[str]) -> Process:
    """HAProxy on the host's address; returns when it takes connections."""
    config = host.directory / f"{name}.cfg"
    config.write_text(haproxy_config(f"{host.address}:{port}", backends))
    process = host.start(name, "haproxy", "-db", "-f", str(config))
    wait_for_port(host, process, port)
    return process


def start_nginx(host: Host, name: str, port: int, backends: Sequence[str]) -> Process:
    """nginx on the host's address; returns when it takes connections."""
    directory = host.directory / name
    directory.mkdir(exist_ok=True)
    sites = directory / "headscale-saas.conf"
    sites.write_text(nginx_config(f"{host.address}:{port}", backends))
    config = directory / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"daemon off;\npid {directory}/pid;\nerror_log stderr;\nworker_processes 1;\n"
        f"events {{ worker_connections 2048; }}\n"
        f"http {{\naccess_log off;\n{temporary}include {sites};\n}}\n"
    )
    process = host.start(name, "nginx", "-p", str(directory), "-e", "stderr", "-c", str(config))
    wait_for_port(host, process, port)
    return process


def wait_for_port(host: Host, process: Process, port: int, seconds: float = 20) -> None:
    """Waits until somebody listens on a TCP port of the host; fails at once if the process ended."""

    def listening() -> bool:
        if not process.alive:
            raise RuntimeError(f"{process.name} ended with {process.status}:\n{process.tail()}")
        return bool(host.run("ss", "-Hltn", f"sport = :{port}").stdout.strip())

    until(f"{process.name} to listen on port {port}", listening, seconds)


def is_complaining(process: Process) -> str:
    """Warnings and alerts that a proxy printed about its configuration; empty if none."""
    return "\n".join(
        line for line in process.output().splitlines() if re.search(r"WARNING|ALERT|\[(warn|emerg)\]", line)
    )
