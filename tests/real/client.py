"""One official client on a host of the lab: its daemon, and its CLI as a user types it."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from real.host import CommandError, Host, Process
from real.wait import until

NEWEST, OLDEST = "1.102.5", "1.80.3"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headscale-saas" / "tailscale"
LOGIN_URL = re.compile(r"https?://\S+")
Json = dict[str, Any]

# They keep a client from reaching for the vendor's hosts, and stop it if it dials the vendor's control.
DAEMON_ENVIRONMENT = {
    "TS_NO_LOGS_NO_SUPPORT": "true",
    "TS_DISABLE_PORTMAPPER": "true",
    "TS_PANIC_IF_HIT_MAIN_CONTROL": "true",
    "TS_ASSUME_NETWORK_UP_FOR_TEST": "1",
    "TS_DEBUG_USE_DERP_HTTP": "1",
    "GOMEMLIMIT": "64MiB",
}


# What clients write when a server told them something wrong, or hung up on them for no reason.
COMPLAINTS = re.compile(
    r"panic|lacked node|long-poll timed out|weird: |region-redefined|zstd|invalid character|json: |"
    r"map response: (?!.*(EOF|reset|closed|canceled))"
)


@dataclass(frozen=True)
class Login:
    """A `tailscale up` that waits for somebody to open `url`."""

    url: str
    process: Process

    def finish(self, seconds: float = 30) -> None:
        """Waits until `tailscale up` has ended well."""
        until("tailscale up to end after the login", lambda: not self.process.alive, seconds)
        if self.process.status:
            raise CommandError(f"tailscale up: status {self.process.status}\n{self.process.output()}")


class Client:
    """An official client. Its state lives on the host's directory until `wipe`."""

    def __init__(self, host: Host, version: str, login_server: str, hostname: str | None = None) -> None:
        self.host = host
        self.version = version
        self.login_server = login_server
        self.hostname = hostname or host.name
        self.state = host.directory / "state"
        self.daemon: Process | None = None
        self._ups = 0

    def __repr__(self) -> str:
        return f"{self.hostname} ({self.version})"

    @property
    def _socket(self) -> str:
        return str(self.host.directory / "sock")

    # The daemon.

    def start(self, **environment: str) -> None:
        """Starts the daemon and waits until it answers."""
        self.state.mkdir(exist_ok=True)
        self.daemon = self.host.start(
            "tailscaled",
            str(CACHE / self.version / "tailscaled"),
            f"--statedir={self.state}",
            f"--socket={self._socket}",
            "--tun=tailscale0",
            "--port=41641",
            env={**DAEMON_ENVIRONMENT, "TS_LOGS_DIR": str(self.state), **environment},
        )
        until(f"{self}'s daemon to answer", lambda: self.status()["BackendState"] != "NoState", 20)

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        """Ends the daemon as a power cut does."""
        assert self.daemon is not None
        self.daemon.kill()

    def wipe(self) -> None:
        """Ends the daemon and forgets everything: the next start is a new machine."""
        if self.daemon is not None and self.daemon.alive:
            self.daemon.kill()
        shutil.rmtree(self.state, ignore_errors=True)
        (self.host.directory / "tailscaled.log").unlink(missing_ok=True)

    # The CLI.

    def cli(self, *arguments: str, seconds: float = 30) -> str:
        """What `tailscale …` prints; CommandError unless it ends with 0."""
        return self.host.run(*self._cli(*arguments), seconds=seconds).stdout

    def refuses(self, *arguments: str) -> str:
        """What `tailscale …` complains of; AssertionError if it does not."""
        done = self.host.run(*self._cli(*arguments), check=False)
        assert done.returncode, f"{self}: tailscale {' '.join(arguments)} ended well"
        return done.stdout + done.stderr

    def _cli(self, *arguments: str) -> list[str]:
        return [str(CACHE / self.version / "tailscale"), f"--socket={self._socket}", *arguments]

    def _up_flags(self, *extra: str) -> list[str]:
        # Accepting routes is said because after a logout `up` insists that it be said either way.
        given = [f"--login-server={self.login_server}", f"--hostname={self.hostname}", "--accept-routes"]
        return ["up", *given, *extra]

    def up(self, auth_key: str | None = None, *extra: str, seconds: float = 30) -> None:
        """`tailscale up`; returns when the client is Running."""
        key = [f"--auth-key={auth_key}"] if auth_key else []
        self.cli(*self._up_flags(*key, f"--timeout={seconds:g}s", *extra), seconds=seconds + 5)

    def login(self, *extra: str, seconds: float = 20) -> Login:
        """`tailscale up` without a key, as far as the URL that it prints."""
        self._ups += 1
        process = self.host.start(f"up-{self._ups}", *self._cli(*self._up_flags(*extra)))
        output = process.wait_for("://", seconds)
        found = LOGIN_URL.search(output)
        assert found, output
        return Login(found.group(), process)

    def down(self) -> None:
        self.cli("down")

    def logout(self) -> None:
        self.cli("logout")

    def status(self) -> Json:
        status: Json = json.loads(self.cli("status", "--json", seconds=10))
        return status

    def netmap(self) -> Json:
        netmap: Json = json.loads(self.cli("debug", "netmap", seconds=10))
        return netmap

    def whois(self, address: str) -> Json:
        answer: Json = json.loads(self.cli("whois", "--json", address, seconds=10))
        return answer

    def tailscale_ping(self, target: str, seconds: float = 10) -> str:
        """`tailscale ping` until one pong, by whatever path; CommandError if none came."""
        return self.cli(
            "ping", "--c=1", "--until-direct=false", f"--timeout={seconds:g}s", target, seconds=seconds + 2
        )

    # What the CLI's answers say.

    @property
    def running(self) -> bool:
        return bool(self.status()["BackendState"] == "Running")

    def addresses(self) -> list[str]:
        """Its own tailnet addresses, IPv4 first."""
        return self.cli("ip").split()

    @property
    def ipv4(self) -> str:
        return next(address for address in self.addresses() if "." in address)

    @property
    def ipv6(self) -> str:
        return next(address for address in self.addresses() if ":" in address)

    @property
    def name(self) -> str:
        """Its MagicDNS name, without the final dot."""
        return str(self.status()["Self"]["DNSName"]).rstrip(".")

    def peers(self) -> dict[str, Json]:
        """Its peers by the first label of their MagicDNS names."""
        peers = (self.status().get("Peer") or {}).values()
        return {str(peer["DNSName"]).split(".")[0]: peer for peer in peers}

    def node_key(self) -> str:
        """Its public node key, `nodekey:…`."""
        return str(self.status()["Self"]["PublicKey"])

    def pings(self, target: str, count: int = 1, seconds: float = 2) -> bool:
        """Whether a real `ping` through the tunnel is answered."""
        return self.host.pings(target, count, seconds)

    @contextmanager
    def pinging(self, target: str) -> Iterator["PingTrain"]:
        """Pings five times a second until the block ends, and counts."""
        process = self.host.start("ping", "ping", "-i0.2", "-W1", target)
        train = PingTrain(process)
        try:
            yield train
        finally:
            process.interrupt()
            train.read_summary()

    def complaints(self) -> list[str]:
        """Lines in the daemon's log that say that the server is at fault."""
        log = self.host.directory / "tailscaled.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return [f"{self}: {line}" for line in lines if COMPLAINTS.search(line)]

    def picture(self) -> str:
        """What to look at when a test has failed."""
        if self.daemon is None:
            return f"--- {self}: never started"
        status = self.host.run(*self._cli("status"), check=False, seconds=5)
        log = "\n".join(line[:300] for line in self.daemon.tail(40).splitlines())
        return (
            f"--- {self} at {self.host.address}, pid {self.daemon.pid}\n{status.stdout}{status.stderr}\n{log}"
        )


class PingTrain:
    """The count of a `ping` that ran while something else happened; filled in when it has ended."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.sent = self.received = 0

    def read_summary(self) -> None:
        summaries = re.findall(r"(\d+) packets transmitted, (\d+) received", self._process.output())
        assert summaries, self._process.tail()
        self.sent, self.received = (int(number) for number in summaries[-1])
