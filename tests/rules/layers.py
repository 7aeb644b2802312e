"""The table of rooms: what each may import besides itself and errors."""

BELOW = {
    "errors": "",
    "tailcfg": "",
    "wire": "tailcfg",
    "tailnet": "tailcfg",
    "policy": "tailnet tailcfg",
    "netmap": "policy tailnet tailcfg",
    "version": "",
    "clock": "",
    "observe": "",
    "store": "tailnet tailcfg",
    "access": "store tailnet",
    "actions": "access store policy tailnet tailcfg",
    "live": "store netmap policy tailnet wire tailcfg",
    "transport": "wire tailcfg",
    "control": "actions live access netmap store.directory tailnet wire tailcfg",
    "rest": "actions access store policy tailnet",
    "grpc": "actions access store policy tailnet",
    "console": "actions access store policy tailnet",
    "acs": "actions access store tailnet",
    "relay": "wire tailcfg",
    "swarm": "wire tailcfg",
}
"""No new arrow without a decision. A dotted name is that module only."""

PROGRAMS = {
    "serve",
    "measuring",
    "cli",
    "config",
    "postgres",
    "supervisor",
    "worker",
    "founding",
    "join_line",
    "noise_keys",
    "policy_file",
    "metrics",
}
"""The composition root and its parts may import anything; nothing below imports them."""

PURE = {"errors", "tailcfg", "wire", "tailnet", "policy", "netmap"}
FROM_LEVEL_TWO = {"clock", "observe", "version"}
"""For every room from `store` up."""

LOW = {*PURE, *FROM_LEVEL_TWO, "swarm"}
IMPURE = {
    *("asyncio", "socket", "time", "random", "secrets", "logging", "subprocess", "select"),
    *("selectors", "signal", "ssl", "http", "urllib.request", "concurrent", "multiprocessing", "tempfile"),
    *("structlog", "uvloop", "uvicorn", "asyncpg", "psycopg", "sqlalchemy"),
}
DATABASE = {"asyncpg", "psycopg", "sqlalchemy", "alembic"}
MAY_SPEAK_SQL = {"store", *PROGRAMS}
