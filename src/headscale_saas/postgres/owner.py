"""PostgreSQL refuses to run as root. When we are root it runs as somebody else, who must reach its files.

The user is the owner of the data directory if there is one, else the first that exists of `headscale`,
`postgres` and `nobody` (initdb insists on a name, so an unused number will not do). A checkout below
/root is closed to that user: then programs are copied to CACHE, and data lives below DATA with a symbolic
link at the place that was asked for.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from headscale_saas.errors import Unavailable

CANDIDATES = ("headscale", "postgres", "nobody")
CACHE = Path("/var/cache/headscale-saas")
DATA = Path("/var/lib/headscale-saas")


def choose(data_dir: Path) -> pwd.struct_passwd | None:
    """Who runs PostgreSQL; None means the user we already are."""
    if os.geteuid() != 0:
        return None
    if data_dir.exists() and (uid := data_dir.stat().st_uid) != 0:
        return pwd.getpwuid(uid)
    for name in CANDIDATES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable(f"PostgreSQL does not run as root and there is no user {' or '.join(CANDIDATES)}")


def may_enter(directory: Path, user: pwd.struct_passwd) -> bool:
    """Asked by trying, so that access lists and mounts count as well as modes."""
    test = shutil.which("test") or "/usr/bin/test"
    asked = subprocess.run(
        [test, "-x", directory],
        user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", timeout=30, check=False,
    )  # fmt: skip
    return asked.returncode == 0


def place_data(data_dir: Path, user: pwd.struct_passwd | None) -> Path:
    """Makes `data_dir`, owned by `user` with mode 0700, and returns where it really is."""
    real = data_dir.resolve()
    real.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if user and not may_enter(real.parent, user):
        if real.exists():
            raise Unavailable(f"PostgreSQL runs as {user.pw_name}, who may not enter {real.parent}")
        elsewhere = DATA / hashlib.sha256(bytes(real)).hexdigest()[:16]
        elsewhere.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        data_dir.symlink_to(elsewhere)
        real = elsewhere
    real.mkdir(mode=0o700, exist_ok=True)
    if user:
        os.chown(real, user.pw_uid, user.pw_gid)
    return real


def place_socket(data_dir: Path, user: pwd.struct_passwd | None) -> Path:
    """The directory of the unix socket: the data directory itself, mode 0700, unless its path is too long.

    The kernel takes 107 bytes. The short place is named after the long one; a directory of that name which
    somebody else made is refused.
    """
    if len(bytes(data_dir / ".s.PGSQL.5432.lock")) <= 107:
        return data_dir
    uid = user.pw_uid if user else os.geteuid()
    short = Path("/tmp") / f"headscale-saas-{uid}-{hashlib.sha256(bytes(data_dir)).hexdigest()[:16]}"
    if not short.exists():
        short.mkdir(mode=0o700)
        os.chown(short, uid, -1)
    seen = short.lstat()
    if short.is_symlink() or seen.st_uid != uid or seen.st_mode & 0o077:
        raise Unavailable(f"{short} is not ours: it should be a directory of user {uid} with mode 0700")
    return short
