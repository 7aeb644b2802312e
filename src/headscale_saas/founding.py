"""Before the first worker: schema, cluster, the service's Noise key and the default tailnet.

All of it may be there already, made by an earlier start or by another process that starts now; then it
is left as it is, apart from what the configuration says of the default tailnet.
"""

import asyncio
import getpass
import socket
from datetime import timedelta

import msgspec

from headscale_saas.actions import auth_keys, clusters, tailnets, users
from headscale_saas.config import Config
from headscale_saas.errors import Conflict, NotFound
from headscale_saas.observe import get_logger
from headscale_saas.store import migrate
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import (
    SYSTEM,
    Actor,
    Allocation,
    ClusterId,
    DnsSettings,
    ExtraRecord,
    Settings,
    Tailnet,
)

DEFAULT_TAILNET = "default"
JOIN_USER = "me"
JOIN_KEY_LIFETIME = timedelta(hours=24)

log = get_logger(__name__)


class Founded(msgspec.Struct, frozen=True):
    """What a start has to tell. `auth_key` is made only for a join line."""

    dsn: str
    tailnet: Tailnet


def found(config: Config, dsn: str) -> Founded:
    """Makes what is missing. Raises errors.Error with what to do about it."""
    migrate.migrate(config.database_direct_url() or dsn)
    return asyncio.run(_found(config, dsn))
