"""What time alone changes: expiry, ephemeral nodes, offline after the grace, and what is swept away.

One process at a time does it, whoever holds the lease; a round is idempotent and bounded, so one that breaks
off in the middle harms nothing. Where work is due is asked of the directory in one question, then each
tailnet does its own.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from headscale_saas.actions import presence, repeats
from headscale_saas.clock import pause
from headscale_saas.errors import Error, NotFound, Unavailable
from headscale_saas.observe import Reminder, get_logger
from headscale_saas.store import addresses, audit, changelog, directory, due, logins, nodes
from headscale_saas.store import settings as settings_row
from headscale_saas.store.constraints import OF_A_TAILNET
from headscale_saas.store.database import Database
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import SYSTEM, TailnetId

LEASE = "upkeep"
LEASE_DURATION = timedelta(seconds=10)
ADDRESS_REST = timedelta(hours=24)
KEY_REST = timedelta(hours=24)
"""Of a deleted node's address, and of its key."""
LOG_KEPT = timedelta(minutes=10)
DECIDED_KEPT = timedelta(days=1)
DEAD_KEPT = timedelta(days=1)
AUDIT_KEPT = timedelta(days=90)
"""Of the audit log, whether its tailnet is still there or not."""
MOST_PER_TAILNET = 500
MOST_TAILNETS = 1000
"""How much one round does; the next one goes on."""
ROUND_SECONDS = 2.0
NOT_YET = timedelta(seconds=30)
"""So long at most a tailnet is left alone because its ephemeral nodes are not away for long enough: its admin
may have made the time shorter."""
SWEEP_SECONDS = 30.0
"""What is swept away has rested for minutes or days: nobody waits for it."""

log = get_logger(__name__)

T = TypeVar("T")
Verb = Callable[[TailnetTx], Awaitable[T]]


NotBefore = dict[TailnetId, datetime]
"""What rounds remember of tailnets whose ephemeral nodes were away for too short a time."""


async def run_once(
    db: Database,
    now: datetime | None = None,
    *,
    sweep: bool = True,
    judge: bool = True,
    not_before: NotBefore | None = None,
) -> bool:
    """One round, if this process gets the lease. False: another process does it. `now` is for tests.

    `judge`: processes that were not heard of for long are declared dead.
    """
    async with db.directory() as tx:
        if await directory.take_lease(tx, LEASE, LEASE_DURATION) is None:
            return False
        if judge:
            await directory.declare_dead(tx)
        found = await due.read(tx, now, presence.GRACE, ADDRESS_REST)
    await presence.settle(db, found.unsettled, found.now)
    await _expire_nodes(db, found)
    await _remove_ephemeral(db, found, {} if not_before is None else not_before)
    await _wake_addresses(db, found)
    if sweep:
        await _sweep(db, found.now)
    if found.grown:
        await _analyze(db)
    return True


async def run_forever(db: Database, may_judge: Callable[[], bool]) -> None:
    """Rounds until cancelled. A round that fails is logged, and the next one is tried."""
    loop, swept_at, not_before = asyncio.get_running_loop(), float("-inf"), NotBefore()
    trouble = Reminder()
    while True:
        sweep = loop.time() - swept_at >= SWEEP_SECONDS
        try:
            if await run_once(db, sweep=sweep, judge=may_judge(), not_before=not_before) and sweep:
                swept_at = loop.time()
            if trouble.ends():
                log.warning("upkeep_goes_on")
        except Error as error:
            if trouble.is_due():
                log.warning("upkeep_failed", code=error.code, reason=error.message)
        except Exception:
            log.exception("upkeep_failed")
        # Processes that started together shall not ask for the lease together for ever.
        await pause(ROUND_SECONDS * random.uniform(0.8, 1.2))


async def _expire_nodes(db: Database, found: due.Due) -> None:
    async def expire(tx: TailnetTx) -> int:
        expired = await nodes.expire(tx, found.now, MOST_PER_TAILNET)
        tx.touch(nodes=expired)
        for node in expired:
            repeats.note_by_time(tx, "node.expire", node, is_gone=False)
        return len(expired)

    await _each(db, found.expiring, expire)


async def _remove_ephemeral(db: Database, found: due.Due, not_before: NotBefore) -> None:
    """A look at a tailnet that found none yet says when to look again."""
    early = {tailnet for tailnet in found.abandoned if not_before.get(tailnet, found.now) > found.now}
    for tailnet in not_before.keys() - early:
        del not_before[tailnet]

    async def remove(tx: TailnetTx) -> datetime | None:
        timeout = (await settings_row.get(tx)).ephemeral_timeout
        gone = await nodes.abandoned(tx, found.now - timeout, MOST_PER_TAILNET)
        if gone:
            await nodes.delete(tx, gone)
            tx.touch(nodes=gone)
            for node in gone:
                repeats.note_by_time(tx, "node.delete", node, is_gone=True)
            return None
        since = await nodes.longest_away(tx)
        return None if since is None else min(since + timeout, found.now + NOT_YET)

    looks = await _each(db, set(found.abandoned) - early, remove)
    not_before.update((tailnet, until) for tailnet, until in looks.items() if until is not None)


async def _wake_addresses(db: Database, found: due.Due) -> None:
    async def wake(tx: TailnetTx) -> int:
        return await addresses.wake(tx, found.now - ADDRESS_REST)

    await _each(db, found.rested, wake)


async def _analyze(db: Database) -> None:
    """By itself and last: it may have to wait for locks, and nothing shall wait for it."""
    try:
        async with db.directory() as tx:
            await due.analyze(tx)
    except Error as error:
        log.warning("tables_not_analyzed", reason=error.message)


async def _sweep(db: Database, now: datetime) -> None:
    async with db.directory() as tx:
        await directory.delete_expired_logins(tx)
        await logins.forget_decided(tx, DECIDED_KEPT)
        await changelog.trim(tx, LOG_KEPT)
        await directory.forget_dead(tx, DEAD_KEPT)
        await directory.forget_resting_keys(tx, now - KEY_REST)
        await audit.trim(tx, now - AUDIT_KEPT)


async def _each(db: Database, tailnets: Iterable[TailnetId], verb: Verb[T]) -> dict[TailnetId, T]:
    """Writes into each; returns what came of those that could be written to."""
    done: dict[TailnetId, T] = {}
    # In any order: what is due may stay so for a while, and those at the end shall have their turn, too.
    due_now = list(tailnets)
    for tailnet in random.sample(due_now, min(len(due_now), MOST_TAILNETS)):
        try:
            done[tailnet] = await db.write(tailnet, SYSTEM, verb)
        except NotFound:
            continue  # deleted meanwhile
        except Unavailable as problem:
            if problem.code not in OF_A_TAILNET:
                raise
            log.warning("upkeep_of_tailnet_failed", tailnet=tailnet, reason=problem.message)
        except Exception:
            log.exception("upkeep_of_tailnet_failed", tailnet=tailnet)
    return done
