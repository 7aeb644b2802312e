"""The policy of the default tailnet from a file (`policy.mode: file`): at the start, and on SIGHUP.

The supervisor does it, once for all its workers; they follow the database as always. The file's text is the
next version of the policy, by the author "file PATH", unless it is the one in force.
"""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from headscale_saas.actions import policies, policy_checks, tailnets
from headscale_saas.actions.policies import Put
from headscale_saas.config import Config
from headscale_saas.config.files import read_policy
from headscale_saas.errors import Error, Invalid
from headscale_saas.observe import get_logger
from headscale_saas.policy.strangers import Stranger
from headscale_saas.store.database import Database
from headscale_saas.store.feed import Doorbell
from headscale_saas.tailnet.model import Actor, TailnetId

MOST_FAILURES_LOGGED = 20
MOST_STRANGERS_LOGGED = 10

log = get_logger(__name__)


def is_used(config: Config) -> bool:
    return config.policy.mode == "file" and bool(config.policy.path)


async def establish(database: Database, config: Config, tailnet: TailnetId) -> None:
    """At the start. Raises Invalid for a file that is wrong; tests that fail only warn, as with headscale:
    before the first node has joined they cannot pass.
    """
    if not is_used(config):
        await _warn_of_mode(database, config, tailnet)
        return
    try:
        put = await _take_over(database, config, tailnet, with_tests=False)
        tested = await policy_checks.run_tests(database, tailnet)
    except Invalid as problem:
        raise Invalid(f"policy.path {config.policy.path}: {problem}", field="policy.path") from None
    if put.is_new:
        _note(config, put)
    _warn_of_strangers(config, tested.strangers)
    for failure in tested.failures[:MOST_FAILURES_LOGGED]:
        log.warning("policy_test_failed", path=config.policy.path, failure=f"{failure.position}: {failure}")


async def _warn_of_mode(database: Database, config: Config, tailnet: TailnetId) -> None:
    """A policy is never taken away because a path is missing, as headscale does."""
    if config.policy.mode == "file" and (await policies.get_policy(database, tailnet)).text:
        log.warning("policy_stays", reason="policy.mode is file, and there is no policy.path")


async def _take_over(database: Database, config: Config, tailnet: TailnetId, *, with_tests: bool) -> Put:
    path = Path(config.policy.path)
    text = await asyncio.to_thread(read_policy, path)
    if not text and (await policies.get_policy(database, tailnet)).text:
        # As it is while somebody writes it.
        raise Invalid(
            "the file is empty; to let everyone reach everyone, write {} into it", field="policy.path"
        )
    author = Actor(kind=policies.FROM_FILE, name=str(path), origin=socket.gethostname())
    return await policies.set_policy(database, author, tailnet, text, with_tests=with_tests)


def _note(config: Config, put: Put) -> None:
    number = put.policy.version.number if put.policy.version else 0
    log.info("policy_set", path=config.policy.path, version=number, routes_approved_of=len(put.approved))


def _warn_of_strangers(config: Config, strangers: Sequence[Stranger]) -> None:
    if strangers:
        named = ", ".join(f"{one.word[:200]} ({one.position})" for one in strangers[:MOST_STRANGERS_LOGGED])
        log.warning(
            "policy_names_nobody", path=config.policy.path, count=len(strangers), nobody_here_is=named
        )


def reload(config: Config, dsn: str) -> None:
    """On SIGHUP. Whatever is wrong is logged, and the policy in force stays."""
    if not is_used(config):
        log.info("nothing_to_reload")
        return
    try:
        put = asyncio.run(_reload(config, dsn))
    except Error as problem:
        log.error("policy_not_reloaded", path=config.policy.path, reason=str(problem))
    except Exception:  # on a thread of its own, where nobody else would tell of it
        log.exception("policy_not_reloaded", path=config.policy.path)
    else:
        if put.is_new:
            _note(config, put)
            _warn_of_strangers(config, put.strangers)
        else:
            log.info("policy_unchanged", path=config.policy.path)


async def _reload(config: Config, dsn: str) -> Put:
    database = await Database.open(dsn, pooler=config.database.pooler, pool_size=1)
    doorbell = Doorbell(database.address)
    database.on_commit = doorbell.ring
    try:
        tailnet = await tailnets.show_tailnet(database, config.tailnet.name)
        return await _take_over(database, config, tailnet.id, with_tests=True)
    finally:
        await database.close()
        await doorbell.close()
