"""What the database refuses, in our words: one table from constraint name to domain error.

The driver's own texts quote the row that was in the way, which may be another tailnet's or a secret; they
never leave this module. What is not in the tables is a fault of ours and stays as it is.
"""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import asyncpg

from headscale_saas.errors import Conflict, Error, Invalid, Unavailable


class DatabaseGone(Unavailable):
    """The server went away, or is not the primary any more: so for every connection to it."""

    code = "database_gone"


class Fenced(Unavailable):
    """This process was declared dead and may not write; only a restart, with a new number, helps."""

    code = "fenced"


class OutcomeUnknown(Unavailable):
    """The connection broke during COMMIT. Look for what was written before trying again."""

    code = "outcome_unknown"


def _conflict(message: str, code: str) -> Callable[[], Error]:
    return lambda: Conflict(message, code=code)


def _invalid(message: str, field: str) -> Callable[[], Error]:
    return lambda: Invalid(message, field=field)


_USER_IN_USE = _conflict("the user still owns something here, or is gone", "user_in_use")
_ADDRESS_TAKEN = _conflict("the address is taken", "address_taken")
_KEY_TAKEN = _conflict("the key is in use", "key_in_use")

BY_CONSTRAINT: dict[str, Callable[[], Error]] = {
    "node_keys_pkey": _KEY_TAKEN,
    "auth_key_prefixes_pkey": _KEY_TAKEN,
    "api_key_prefixes_pkey": _KEY_TAKEN,
    "pending_logins_pkey": _KEY_TAKEN,
    "nodes_node_key": _KEY_TAKEN,
    "auth_keys_prefix": _KEY_TAKEN,
    "api_keys_prefix": _KEY_TAKEN,
    "nodes_stable_id": _conflict("the stable id is taken", "stable_id_taken"),
    "nodes_name": _conflict("a node of this name exists", "name_taken"),
    "nodes_machine": _conflict("this machine is already a node of this owner", "machine_taken"),
    "nodes_ipv4": _ADDRESS_TAKEN,
    "nodes_ipv6": _ADDRESS_TAKEN,
    "nodes_user": _USER_IN_USE,
    "auth_keys_user": _USER_IN_USE,
    "nodes_auth_key": _conflict("nodes that joined with this key are still here", "auth_key_in_use"),
    "nodes_owner": _invalid("a node has either an owner or tags", "tags"),
    "auth_keys_owner": _invalid("a key needs an owner or tags", "tags"),
    "users_name": _conflict("a user of this name exists", "user_taken"),
    "users_provider": _conflict("this identity is already a user", "user_taken"),
    "tailnets_name_key": _conflict("a tailnet of this name exists", "tailnet_taken"),
    "tailnets_name_check": _invalid("lower-case letters, digits and hyphens, at most 63", "name"),
    "tailnets_cluster_id_fkey": _conflict("there is no such cluster, or it is in use", "cluster_in_use"),
    "processes_cluster_id_fkey": _conflict("there is no such cluster, or it is in use", "cluster_in_use"),
    "clusters_pkey": _conflict("a cluster of this number exists", "cluster_taken"),
    "clusters_name_key": _conflict("a cluster of this name exists", "cluster_taken"),
}

GONE: tuple[type[Exception], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.ReadOnlySQLTransactionError,  # a primary that became a standby
    # The server we came to is a standby; or it said goodbye at the very moment when we began to speak.
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one: an answer that did not come at all
)
LOCKED_OUT: tuple[type[Exception], ...] = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,  # of which the wrong password is one
)
BUSY: tuple[type[Exception], ...] = (
    asyncpg.OperatorInterventionError,  # of which the statement timeout is left
    asyncpg.InsufficientResourcesError,  # 53…: too many connections, disk or memory full
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
RETRY: tuple[type[Exception], ...] = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,  # a migration went by; the driver has dropped its plans
)
VIOLATION: type[Exception] = asyncpg.IntegrityConstraintViolationError
FAILURES: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""Everything the driver raises."""

AWAY: tuple[type[Exception], ...] = (Unavailable, *FAILURES)
"""For loops that go on when the database is back."""

OF_A_TAILNET = frozenset({"database_busy", "moving", "tailnet_busy"})
"""Codes of Unavailable that say nothing of other tailnets: whoever does one after the other may go on."""

FATAL: tuple[type[Exception], ...] = (*RETRY, DatabaseGone)
"""After these nothing of the transaction is left, whatever its savepoints."""


NOT_ADMITTED: tuple[tuple[type[Exception], str], ...] = (
    (asyncpg.InvalidPasswordError, "the password is wrong, or there is no such user"),
    (asyncpg.InvalidAuthorizationSpecificationError, "the database does not admit this user from here"),
    (asyncpg.InvalidCatalogNameError, "there is no such database"),
)
NOT_REACHED: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "the host's name is not known"),
    (ConnectionRefusedError, "nothing listens there: the connection was refused"),
    (FileNotFoundError, "there is no such socket: no server runs there"),
    (ssl.SSLCertVerificationError, "the database's certificate is not trusted"),
    (TimeoutError, "the database did not answer in time"),
)
"""For one who cannot connect; the first that fits."""


def translated(problem: BaseException) -> BaseException:
    """The domain error for what the driver raised, or `problem` itself if no caller should have to see it."""
    if isinstance(problem, RETRY):
        return problem
    if isinstance(problem, GONE) or _is_closed(problem):
        return DatabaseGone("the database does not answer")
    if isinstance(problem, LOCKED_OUT):
        return Unavailable("there is no such database, or user or password are wrong", code="locked_out")
    if isinstance(problem, BUSY):
        return Unavailable("the database is too busy", code="database_busy")
    return _refusal(problem) if isinstance(problem, VIOLATION) else problem


def not_connected(problem: BaseException) -> BaseException:
    """The domain error for what the driver raised while it connected, with the reason where known."""
    if reason := next((text for kind, text in NOT_ADMITTED if isinstance(problem, kind)), ""):
        return Unavailable(reason, code="locked_out")
    if isinstance(problem, ConnectionError) and "rejected SSL" in str(problem):
        return Unavailable("the database does not speak TLS, which was asked for", code="locked_out")
    reason = next((text for kind, text in NOT_REACHED if isinstance(problem, kind)), "")
    return DatabaseGone(reason) if reason else translated(problem)


def _is_closed(problem: BaseException) -> bool:
    """The driver has one class for our mistakes and for connections that were closed under us."""
    return isinstance(problem, asyncpg.InterfaceError) and "closed" in str(problem)


def _refusal(problem: Any) -> Error:
    if (problem.constraint_name or "").endswith("_placement"):
        return Unavailable("the tailnet is just moving to another cluster", code="moving")
    known = BY_CONSTRAINT.get(problem.constraint_name or "")
    if known:
        return known()
    if isinstance(problem, asyncpg.CheckViolationError | asyncpg.NotNullViolationError):
        return Invalid("a value is not allowed here")
    return Conflict("another row is in the way")
