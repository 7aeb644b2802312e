"""Before the first worker: schema, cluster, the service's Noise key, the default tailnet and its policy file.

All of it may be there already, made by an earlier start or by another process that starts now; then it
is left as it is, apart from what the configuration says of the default tailnet.
"""

import asyncio
import sys
import threading
import time
from contextlib import suppress
from itertools import count
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from headscale_saas import join_line, noise_keys, policy_file
from headscale_saas.actions import clusters, tailnets
from headscale_saas.actions.settings import set_settings
from headscale_saas.actions.stored_policies import inspect
from headscale_saas.config import Config
from headscale_saas.errors import Conflict, Invalid, NotFound, Unavailable
from headscale_saas.observe import get_logger
from headscale_saas.store.database import Database
from headscale_saas.store.migrate import migrate
from headscale_saas.store.pool import Address
from headscale_saas.tailnet.model import (
    SYSTEM,
    Allocation,
    ClusterId,
    DnsSettings,
    ExtraRecord,
    Settings,
    Tailnet,
)

DATABASE_SECONDS = 60.0
"""How long a database may take to start."""
KNOCK_SECONDS = 1.0
KNOCKS_A_LINE = 10
INSPECT_SECONDS = 3.0
"""How long a start looks at the policies of all tailnets."""
LOCKED_OUT = "locked_out"

log = get_logger(__name__)


class Founded(msgspec.Struct, frozen=True):
    """The default tailnet, and where it is."""

    dsn: str
    tailnet: Tailnet


def found(config: Config, dsn: str, stop: threading.Event | None = None) -> Founded:
    """Makes what is missing. Raises errors.Error with what to do about it.

    A database that does not answer may be starting, as containers do together with us: it is waited for,
    until `stop`. One that turns us away will not change its mind.
    """
    _await_database(config.database.direct_dsn or dsn, stop or threading.Event())
    migrate(config.database.direct_dsn or dsn)
    founded = Founded(dsn, asyncio.run(_found(config, dsn)))
    _warn_of_policies(config.database.direct_dsn or dsn)
    return founded


def _await_database(dsn: str, stop: threading.Event) -> None:
    deadline = time.monotonic() + DATABASE_SECONDS
    for knock in count():
        try:
            asyncio.run(_knock(dsn))
            return
        except Unavailable as problem:
            if problem.code == LOCKED_OUT or stop.is_set() or time.monotonic() > deadline:
                raise Unavailable(f"{problem.message}: {place_of(dsn)}", code=problem.code) from None
            if knock % KNOCKS_A_LINE == 0:
                log.warning(
                    "waiting_for_database",
                    place=place_of(dsn),
                    reason=problem.message,
                    up_to_seconds=DATABASE_SECONDS,
                )
        stop.wait(KNOCK_SECONDS)


def _warn_of_policies(dsn: str) -> None:
    """Of those that this release does not understand. No start fails for it, nor waits long."""
    try:
        found = inspect(dsn, seconds=INSPECT_SECONDS)
    except Unavailable as problem:
        log.warning("policies_not_inspected", reason=problem.message)
        return
    for one in found.first:
        log.error("policy_not_understood", tailnet=one.tailnet, name=one.name, reason=one.reason)
    if found.refused:
        log.error("tailnets_not_served", count=found.refused, until="an admin sets another policy for each")
    if found.unchecked:
        log.warning("policies_not_inspected", count=found.unchecked, advice="headscale db status")


async def _knock(dsn: str) -> None:
    try:
        connection = await Address(dsn=dsn, name="headscale-saas/start").connect()
    except ValueError:  # the driver's words quote the text, which may hold a password
        raise Invalid("this is no DSN that can be used: postgresql://…", field="database.url") from None
    await connection.close()


def place_of(dsn: str) -> str:
    """Where the database is, and no password."""
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    login, _, netloc = parts.netloc.rpartition("@")
    host = query.get("host", "")
    port = f":{query['port']}" if "port" in query and not host.startswith("/") else ""
    name = unquote(parts.path.lstrip("/")) or query.get("dbname", "")
    user = unquote(login.partition(":")[0]) or query.get("user", "")
    return f"database {name!r} at {netloc or host + port or 'a socket'}" + (
        f" as user {user!r}" if user else ""
    )


async def _found(config: Config, dsn: str) -> Tailnet:
    database = await Database.open(dsn, pooler=config.database.pooler, pool_size=1)
    try:
        await _warn_of_lost_commits(database)
        return await found_in(database, config)
    finally:
        await database.close()


async def _warn_of_lost_commits(database: Database) -> None:
    """Where commits do not wait for the disk, a crash of the server gives the last versions a second time."""
    async with database.directory() as tx:
        if await tx.fetchval("select current_setting('synchronous_commit')") == "off":
            log.warning("commits_may_be_lost", reason="synchronous_commit is off", advice="turn it on")


async def found_in(database: Database, config: Config) -> Tailnet:
    """The same in a migrated database; returns the default tailnet."""
    await _found_cluster(database, ClusterId(config.cluster_id))
    await noise_keys.found(database, config.noise.private_key_path, config.secrets.key_path)
    tailnet = await _found_tailnet(database, config)
    await policy_file.establish(database, config, tailnet.id)
    return tailnet


async def _found_cluster(database: Database, cluster: ClusterId) -> None:
    if any(known.id == cluster for known in await clusters.list_clusters(database)):
        return
    with suppress(Conflict):  # another process was quicker
        await clusters.create_cluster(database, SYSTEM, cluster, f"cluster-{cluster}")


async def _found_tailnet(database: Database, config: Config) -> Tailnet:
    """The default tailnet, with the settings that the configuration has for it."""
    settings, name = default_settings(config), config.tailnet.name
    try:
        known = await tailnets.show_tailnet(database, name)
    except NotFound:
        with suppress(Conflict):
            return await tailnets.create_tailnet(
                database, SYSTEM, name, ClusterId(config.cluster_id), settings
            )
        known = await tailnets.show_tailnet(database, name)
    settings = msgspec.structs.replace(settings, domains=known.settings.domains)  # no configuration has them
    if known.settings == settings:
        return known
    await set_settings(database, SYSTEM, known.id, settings)
    return msgspec.structs.replace(known, settings=settings)


def default_settings(config: Config) -> Settings:
    """What a headscale configuration says of its one tailnet, here the default one."""
    dns = config.dns
    return Settings(
        base_domain=dns.base_domain.strip("."),
        prefix_v4=config.prefixes.v4,
        prefix_v6=config.prefixes.v6,
        allocation=Allocation(config.prefixes.allocation),
        dns=DnsSettings(
            magic_dns=dns.magic_dns,
            override_local=dns.override_local_dns,
            nameservers=dns.nameservers.global_,
            split=dict(dns.nameservers.split),
            search_domains=dns.search_domains,
            extra_records=tuple(ExtraRecord(r.name, r.type, r.value) for r in dns.extra_records),
        ),
        node_expiry=config.node.expiry or None,
        ephemeral_timeout=config.node.ephemeral.inactivity_timeout,
        taildrop=config.taildrop.enabled,
        auto_update=config.auto_update.enabled,
        client_logs=config.logtail.enabled,
    )


def settings_of_new_tailnet(config: Config, name: str) -> Settings:
    """Those of the default tailnet, with names below its domain: host.tailnet.base_domain."""
    settings = default_settings(config)
    domain = f"{name}.{settings.base_domain}" if settings.base_domain else ""
    return msgspec.structs.replace(settings, base_domain=domain)


def announce(config: Config, founded: Founded, *, with_join_line: bool) -> None:
    """Says on stdout that clients are served, and with `with_join_line` how to be one."""
    log.info("serving", url=config.server_url, tailnet=founded.tailnet.name)
    if with_join_line:
        key = asyncio.run(_join_key(config, founded))
        # One write: without a buffer, `print` writes the line's end apart, and another process's line goes
        # between. The first line end parts it from a line that has none yet.
        sys.stdout.write(f"\ntailscale up --login-server={config.server_url} --auth-key={key}\n")
        sys.stdout.flush()


async def _join_key(config: Config, founded: Founded) -> str:
    database = await Database.open(founded.dsn, pooler=config.database.pooler, pool_size=1)
    try:
        return await join_line.join_key(database, founded.tailnet.id, config.state_dir)
    finally:
        await database.close()
