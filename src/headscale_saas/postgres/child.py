"""Becomes PostgreSQL: `python -I -S child.py PARENT_PID USER COMMAND…` (USER `-` keeps the present one).

A program of its own instead of a `preexec_fn`, which may deadlock in a process with threads. It runs
before rights are dropped, so the interpreter may live where the unprivileged user cannot look.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1


def drop_rights(name: str) -> None:
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def die_with_parent(parent: int) -> None:
    """SIGINT is PostgreSQL's fast and clean stop. Must come after `setuid`, which clears the wish."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def main() -> None:
    parent, user, *command = sys.argv[1:]
    os.umask(0o077)
    if user != "-":
        drop_rights(user)
    die_with_parent(int(parent))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
