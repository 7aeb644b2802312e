"""Machines of the lab: namespaces around an `init`, and the programs that run in them.

Every host has network, mount, process and host-name namespaces of its own, all anonymous: they exist as
long as their `init`, a `cat` that reads a pipe of ours. When we end, however we end, the pipe closes, `cat`
ends, the kernel kills what else runs in that process namespace and frees the interfaces.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from real.wait import until

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

INIT = """
set -e
trap '' CHLD # ignored for good, by `cat` too: the kernel then reaps orphans
name=$1 etc=$2 resolver=$3
mount -t tmpfs etc "$etc"
cp -a /etc/. "$etc"
rm -f "$etc/resolv.conf" "$etc/hosts" "$etc/hostname"
printf 'nameserver %s\\noptions timeout:1 attempts:1\\n' "$resolver" >"$etc/resolv.conf"
printf '127.0.0.1 localhost\\n::1 localhost\\n%s ctl.lab\\n' "$resolver" >"$etc/hosts"
echo "$name" >"$etc/hostname"
for file in /etc/resolv.conf /etc/hosts /etc/hostname; do # containers mount these
  if mountpoint -q "$file"; then umount "$file"; fi
done
mount --bind "$etc" /etc
mount -t tmpfs run /run
mount -t sysfs sys /sys
hostname "$name"
echo ready
exec cat
"""


class CommandError(AssertionError):
    """A command on a host ended with another status than 0; the message has what it printed."""


class Process:
    """A long-running program on a host; what it prints is added to `log`."""

    def __init__(self, host: "Host", name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.log = host.directory / f"{name}.log"
        self._log_file: IO[bytes] = self.log.open("ab")
        self._log_start = self._log_file.tell()
        self._entered = subprocess.Popen(
            host.inside(argv),
            env={"PATH": PATH, "HOME": str(host.directory), **env},
            stdin=subprocess.DEVNULL,
            stdout=self._log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int | None:
        """The program's own pid as seen from outside; `nsenter` is its parent."""
        return next(iter(children(self._entered.pid)), None)

    @property
    def alive(self) -> bool:
        return self._entered.poll() is None

    @property
    def status(self) -> int | None:
        return self._entered.poll()

    def signal(self, number: int) -> None:
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def stop(self, seconds: float = 10) -> None:
        """SIGTERM, and SIGKILL for what has not ended after `seconds`."""
        if self.alive:
            until(f"{self.name} to have started", lambda: self.pid or not self.alive, 5, every=0.01)
            self.signal(signal.SIGTERM)
        try:
            self._entered.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
        self.forget()

    def interrupt(self) -> None:
        """SIGINT, as Ctrl-C."""
        self.signal(signal.SIGINT)
        self.forget()

    def kill(self) -> None:
        """SIGKILL, as a crash: nothing is said or saved."""
        self.signal(signal.SIGKILL)
        self.forget()

    def forget(self) -> None:
        """Takes the status of a program that is ending, and frees what we hold for it."""
        self._entered.wait(10)
        self._log_file.close()

    def output(self) -> str:
        """What it has printed since it started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output().splitlines()[-lines:])

    def wait_for(self, text: str, seconds: float = 20) -> str:
        """Waits until the program has printed `text`; fails at once if it ended without."""

        def printed() -> str | None:
            output = self.output()
            if text in output:
                return output
            if not self.alive:
                raise RuntimeError(f"{self.name} ended with {self.status}:\n{self.tail()}")
            return None

        return until(f"{self.name} to print {text!r}", printed, seconds)  # type: ignore[return-value]


class Host:
    """One machine of the lab."""

    def __init__(self, name: str, directory: Path, addresses: tuple[str, str], resolver: str) -> None:
        self.name = name
        self.directory = directory
        self.address, self.address6 = addresses
        self._processes: list[Process] = []
        (directory / "etc").mkdir()
        self._init = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc",
             "sh", "-c", INIT, "init", name, str(directory / "etc"), resolver],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        assert self._init.stdout is not None
        ready = self._init.stdout.readline()
        self._init.stdout.close()
        if ready != b"ready\n":
            raise CommandError(f"{name} has no namespaces: needs root, and what INIT needs")
        self.pid = children(self._init.pid)[0]

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` on this host."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--uts", "--", *argv]

    def run(
        self, *argv: str, seconds: float = 30, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; `timeout` ends it inside, so that nothing lives on."""
        done = subprocess.run(
            self.inside(["timeout", "--kill-after=1", f"{seconds:g}", *argv]),
            env={"PATH": PATH, "HOME": str(self.directory), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 10,
            check=False,
        )
        if check and done.returncode:
            raise CommandError(
                f"{self.name}: {' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def start(self, name: str, *argv: str, env: Mapping[str, str] | None = None) -> Process:
        process = Process(self, name, argv, env or {})
        self._processes.append(process)
        return process

    def network(self, *lines: str) -> None:
        """Runs `ip -batch` lines in this host's network namespace, with our eyes for pids and files."""
        subprocess.run(
            ["nsenter", f"--target={self.pid}", "--net", "ip", "-batch", "-"],
            input="\n".join(lines) + "\n",
            text=True,
            check=True,
        )

    def pings(self, address: str, count: int = 1, seconds: float = 2) -> bool:
        """Whether one of `count` echo requests to an address or name is answered."""
        done = self.run("ping", "-q", f"-c{count}", f"-W{seconds:g}", "-i0.2", address, check=False)
        return done.returncode == 0

    def forward(self) -> None:
        """Makes the machine pass on what is not for itself, for good, as a router does."""
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.run("sh", "-c", f"echo 1 >/proc/sys/net/{switch}")

    def add_user(self, name: str) -> None:
        """Makes an account on this machine alone, that can log in; its home is the host's directory."""
        if self.run("id", name, check=False).returncode:
            self.run("mount", "-t", "tmpfs", "log", "/var/log")  # where logins are noted
            home = ("--no-create-home", "--home-dir", str(self.directory))
            self.run("useradd", *home, "--shell", "/bin/sh", name)

    def close(self) -> None:
        """Ends the host; the kernel kills what still runs on it."""
        assert self._init.stdin is not None
        self._init.stdin.close()
        try:
            self._init.wait(5)
        except subprocess.TimeoutExpired:
            self._init.kill()
            self._init.wait(5)
        for process in self._processes:
            process.forget()


def children(pid: int) -> list[int]:
    """The pids of a process's children, as we see them; none if it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
