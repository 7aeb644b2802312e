"""A headscale user's script, unchanged but for the ports: configuration, server, user, key."""

import re
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIG = """\
server_url: http://127.0.0.1:{http}
listen_addr: 127.0.0.1:{http}
metrics_listen_addr: 127.0.0.1:{metrics}
grpc_listen_addr: 127.0.0.1:{grpc}
grpc_allow_insecure: false
noise:
  private_key_path: {state}/noise_private.key
prefixes:
  v4: 100.64.0.0/10
  v6: fd7a:115c:a1e0::/48
  allocation: sequential
derp:
  server:
    enabled: false
  urls: []
  paths: [{state}/derp.yaml]
  auto_update_enabled: false
disable_check_updates: true
ephemeral_node_inactivity_timeout: 30m
database:
  type: sqlite
  sqlite:
    path: {state}/db.sqlite
    write_ahead_log: true
log:
  level: info
  format: text
policy:
  mode: database
dns:
  magic_dns: true
  base_domain: example.com
  override_local_dns: false
  nameservers:
    global: []
unix_socket: {state}/headscale.sock
unix_socket_permission: "0770"
"""

DERP = """\
regions:
  901:
    regionid: 901
    regioncode: test
    regionname: Test
    nodes:
      - {name: 901a, regionid: 901, hostname: 127.0.0.1, ipv4: 127.0.0.1, stunport: 3478, derpport: 3340}
"""

SCRIPT = """\
set -e
headscale -c config.yaml users create alice
headscale -c config.yaml preauthkeys create -u 1 --reusable -e 24h
"""


def free_ports(count: int) -> list[int]:
    """The sockets are held until all are known, so that no two are equal."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory with headscale's config.yaml; not pytest's, which only its owner may enter."""
    with tempfile.TemporaryDirectory(prefix="headscale-saas-test-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        http, metrics, grpc = free_ports(3)
        config = CONFIG.format(http=http, metrics=metrics, grpc=grpc, state=directory)
        (directory / "config.yaml").write_text(config)
        (directory / "derp.yaml").write_text(DERP)
        commands = directory / "bin"
        commands.mkdir()
        entry = commands / "headscale"
        entry.write_text(
            f"#!{sys.executable}\nimport sys\nfrom headscale_saas.cli import main\nsys.exit(main())\n"
        )
        entry.chmod(entry.stat().st_mode | stat.S_IXUSR)
        yield directory


def environment(home: Path) -> dict[str, str]:
    path = f"{home}/bin:/usr/bin:/bin"
    return {"PATH": path, "HEADSCALE_STATE_DIR": f"{home}/state", "HOME": str(home), "LC_ALL": "C.UTF-8"}


@pytest.mark.slow
def test_headscales_script_runs_unchanged(home: Path) -> None:
    """The commands may come before the server is ready: they wait for it."""
    with (home / "serve.log").open("w") as log:
        server = subprocess.Popen(
            ["headscale", "serve", "-c", "config.yaml"],
            cwd=home, env=environment(home), stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            run = subprocess.run(
                ["sh", "-c", SCRIPT],
                cwd=home, env=environment(home), capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
        finally:
            server.terminate()
            status = server.wait(60)
    said = (home / "serve.log").read_text()
    assert (run.returncode, run.stderr) == (0, ""), said
    created, key = run.stdout.splitlines()
    assert created == "User created"
    assert re.fullmatch(r"hskey-auth-[\w-]{12}-[\w-]{64}", key)
    assert key not in said
    assert status == 0, said


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_fault(home: Path) -> None:
    run = subprocess.run(
        ["sh", "-c", "headscale completion bash | true; headscale --help | head -1"],
        cwd=home, env=environment(home), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("Usage: headscale")
