"""The PostgreSQL that `serve` brings along when no DSN is given: the same engine as in production, no setup.

server    start, watch, restart and stop it; join one that already runs on the same directory
binaries  which PostgreSQL to run: from the installed wheel, or a directory
owner     the unprivileged user it runs as when we are root, and places that user can reach
child     the first instructions of the child process: drop rights, die with the parent, exec
"""

from headscale_saas.postgres.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
