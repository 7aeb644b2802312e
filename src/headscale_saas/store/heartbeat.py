"""Says every two seconds that this process lives, from a thread and a connection of its own.

So a busy event loop is not mistaken for death. A process that others declared dead learns it here too
(besides at every write) and must not go on: its sessions were given up.
"""

import threading
import time
from collections.abc import Callable
from math import inf

import psycopg
from psycopg.sql import SQL

from headscale_saas.observe import Reminder, get_logger
from headscale_saas.tailnet.model import ProcessNumber

BEAT_SECONDS = 2.0
GAP_SECONDS = 2 * BEAT_SECONDS
STEADY_SECONDS = 8.0
"""Longer than others take to beat again, too, once the database is back."""
CONNECT_SECONDS = 5

# One round trip; transactions are explicit and nothing is prepared, so a pooler may be in between.
BEAT = """
begin; set local role hs_directory; set local statement_timeout = '2s';
update processes set heartbeat_at = now() where number = {} and dead_at is null
  returning extract(epoch from now())::float8;
commit
"""
STATEMENTS_BEFORE_UPDATE = 3

log = get_logger(__name__)


def since_boot() -> float:
    """Seconds, also those in which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Heartbeat:
    """`on_dead` is called once, in the thread, when the database says that this process is dead."""

    def __init__(self, dsn: str, process: ProcessNumber, on_dead: Callable[[], None]) -> None:
        self._dsn = dsn
        self._process = process
        self._on_dead = on_dead
        self._steady = Steadiness()
        self._stop = threading.Event()
        self._trouble = Reminder()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(BEAT_SECONDS)

    @property
    def is_steady(self) -> bool:
        return self._steady.is_enough

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._beat_until_failure()
            except psycopg.Error as error:
                if self._trouble.is_due():
                    log.warning("heartbeat_failed", error=" ".join(str(error).split()))
                self._stop.wait(BEAT_SECONDS / 2)

    def _beat_until_failure(self) -> None:
        with psycopg.connect(
            self._dsn, autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_SECONDS
        ) as connection:
            while not self._stop.is_set():
                is_alive = self._beat(connection)
                if self._trouble.ends():
                    log.warning("heartbeat_goes_on")
                if not is_alive:
                    self._stop.set()
                    self._on_dead()
                    return
                self._stop.wait(BEAT_SECONDS)

    def _beat(self, connection: psycopg.Connection[tuple[float]]) -> bool:
        """False: others declared us dead."""
        cursor = connection.execute(SQL(BEAT).format(int(self._process)))
        for _ in range(STATEMENTS_BEFORE_UPDATE):
            cursor.nextset()
        row = cursor.fetchone()
        if row is not None:
            self._steady.beat(row[0])
        return row is not None


class Steadiness:
    """For how long a process has beaten without a gap, by the database's clock.

    After a gap of its own, as when the database was away, a process knows nothing of the others: they may
    have had the same gap, and are about to beat again. `clock` tells whether a gap is under way: ours.
    """

    def __init__(self, clock: Callable[[], float] = since_boot) -> None:
        self._clock = clock
        self._since = self._last = self._heard = -inf

    def beat(self, now: float) -> None:
        if now - self._last > GAP_SECONDS:
            self._since = now
        self._last, self._heard = now, self._clock()

    @property
    def is_enough(self) -> bool:
        """Whether it may judge others by their silence."""
        is_gap = self._clock() - self._heard > GAP_SECONDS
        return not is_gap and self._last - self._since >= STEADY_SECONDS
